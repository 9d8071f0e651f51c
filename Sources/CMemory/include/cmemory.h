/* In a program that links this, no allocation returns NULL: the program is ended instead, see tbk_end_exhausted. */
#pragma once

/* Reserves what cannot be checked later: grows the stack, and makes thread stacks small. Ends the program if that
 * fails. Call it first. */
void tbk_prepare_memory(void);
