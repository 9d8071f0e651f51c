"""A GitHub that tests can reach: REST answers over real bare git repositories."""
