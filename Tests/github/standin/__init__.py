"""A stand-in for GitHub: a REST API over real bare git repositories."""
