/* report_page.h: a comparison as one page that needs nothing else: pictures drawn as SVG, each with
 * its numbers, the sentences, every run's options. data/README.md, "The report".
 *
 * Owns: what is drawn and what is left out. Everything shown was computed before (compare.h). */
#ifndef REPORT_PAGE_H
#define REPORT_PAGE_H
#include "contrasts.h"

/* Every file is written whole or not at all; folder (not ""): there each picture as an .svg. */
int report_page_save(dual_ctx *, const comparison *, const findings *, const char *file,
                     const char *folder);

#endif
