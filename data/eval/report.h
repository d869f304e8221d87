/* report.h: how shares and tallies are printed, as lines and as JSON; what every JSON document of
 * eval begins with. data/README.md, "JSON", is the schema. A comparison: comparison_report.h.
 *
 * Owns: the layout. Everything printed was computed before, but for Wilson intervals. */
#ifndef REPORT_H
#define REPORT_H
#include "../runs/json.h"
#include "score.h"

void report_tally(FILE *, const char *label, tally);           /* nothing where none was counted */
void report_tally_json(json_writer *, const char *key, tally);

/* Every share looks like this; NaN, which is written null: not known. */
void report_share_json(json_writer *, const char *key, double hits, double of, double share,
                       double low, double high);
/* A share over problems that is known as a mean: Wilson's interval of as many hits. */
void report_mean(FILE *, const char *label, double share, size_t problems);
/* hits, of: what is counted, NAN where nothing is. */
void report_mean_json(json_writer *, const char *key, double hits, double of, double share,
                      size_t problems);

enum { REPORT_VERSION = 1 };           /* of the schema */
/* An open document: version, program, command, the options as they are used, seed (null where the
 * command has none). The caller closes it. */
json_writer report_begin(FILE *, const char *command, const option *, const void *settings);
/* "run": folder, task, system in fields and in words, steps, stage (null: no curriculum), seed. */
void report_run_json(json_writer *, const char *key, const char *folder, const run_settings *,
                     const dual_system *, uint64_t step);
/* A name as a key: "wrong value" is wrong_value. */
void report_key(const char *name, char *out, size_t size);

#endif
