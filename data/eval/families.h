/* families.h: which arm a run belongs to, and which arms stand in one table.
 *
 * An arm is a system and whatever else tells its runs apart: where runs of one system differ in an
 * option (N_L, width, numbers, ..), each value is an arm of its own. Arms that agree in these
 * options are a family; an arm to which such an option does not apply (N_L of none) is in every
 * family that it fits.
 *
 * Owns: names, labels, their order, what varies, families, groups of runs with problems in common.
 * Refuses two runs of one label and seed. */
#ifndef FAMILIES_H
#define FAMILIES_H
#include "compare.h"

/* The system and what was done to it, as the sentences call it: "h2", "none@flops". */
void run_name(const run_settings *, const dual_system *, char *out, size_t size);
/* Labels, order (the method's, seeds of an arm side by side), groups, families. */
int families_arrange(dual_ctx *, comparison *);
int entries_are_family(const comparison *, const run_entry *, const run_entry *);
int problems_agree(const run_entry *, const run_entry *);      /* they are made alike */
/* The problems of those settings, and the shape too, become an entry's own. */
void families_adopt(run_entry *, const run_settings *, int shape);
int family_has(const comparison *, const family *, const arm *);
/* The arm of that name or label; NULL: there is none, or there are several of that name. */
const arm *family_arm(const comparison *, const family *, const char *name);
/* An entry by the label of its arm or, if only one arm has it, its name; NULL: there is none. */
const run_entry *entry_labelled(const comparison *, const char *label);
/* The i-th of the arms that differ from this one in N_L alone, itself among them. NULL: there are
 * no more, or this one is not the first of them. */
const arm *series_arm(const comparison *, const arm *, size_t i);
/* Both differ only in what varies, or only in the system. */
int arms_are_close(const comparison *, const arm *, const arm *);
/* The label but for what it says of that option; NULL: all of it. */
void entry_label(const comparison *, const run_entry *, const char *without, char *out, size_t);
/* An option's value as it counts in a comparison: by content where it names a file. */
void entry_value(const option *, const run_entry *, char *out, size_t size);
int option_is(const option *, const char *names);      /* one of names, with blanks between them */
int option_applies(const option *, const run_entry *);

#endif
