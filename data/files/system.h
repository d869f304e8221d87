/* system.h: what that programs, not the library, ask of the system. */
#ifndef SYSTEM_H
#define SYSTEM_H

double data_seconds(void);                     /* wall clock, arbitrary origin; 0: there is none */
int data_make_folder(const char *path);        /* parents too; 1 if it then exists */
int data_is_special(const char *path);         /* a folder, a device: there, and no plain file */

#endif
