/* system.h: what programs, not the library, ask of the system. */
#ifndef SYSTEM_H
#define SYSTEM_H

double data_seconds(void);                     /* arbitrary origin, never back; 0: there is none */
double data_never_back(double clock);          /* one that is set back goes on from where it was */
int data_make_folder(const char *path);        /* parents too; 1 if it then exists */
int data_is_special(const char *path);         /* a folder, a device: there, and no plain file */

#endif
