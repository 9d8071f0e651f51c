/* No allocation of a program that links this fails: it is ended instead, as tbk_end_exhausted does. */
#pragma once

/* Sees to it that what cannot be checked later is there: room on the stack, and small stacks for threads. Ends the
 * program if it is not. To be called first. */
void tbk_prepare_memory(void);
