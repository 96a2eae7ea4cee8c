/* Checks copies of an audit log's files. */
#ifndef BULKHEAD_CTL_AUDIT_VERIFY_H
#define BULKHEAD_CTL_AUDIT_VERIFY_H

/* words: verify [--public-key HEX] FILE ... Prints what holds, the first line of each file that
 * does not, and what cannot be seen; returns an exit code. */
int audit_verify_files(int count, char **words);

#endif
