/* The hostile program as a child of bulkheadd. */
#ifndef BULKHEAD_TESTS_SANDBOX_IN_PLACE_H
#define BULKHEAD_TESTS_SANDBOX_IN_PLACE_H

/* Is set up and confined as the process's place is, and says which attempt it is to make. */
void enter_in_place(char *attempt, int size);

#endif
