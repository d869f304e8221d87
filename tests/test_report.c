/* test_report.c - the page of a comparison and its pictures, from runs made by hand: well formed,
 * whole, true to the numbers, and safe from whatever a folder is called. */
#include "files.h"
#include "../data/eval/families.h"
#include "../data/eval/report_page.h"
#include "../data/eval/svg.h"

/* ---- A reader of markup -------------------------------------------------------------------- */

enum { DEEP = 32, IDS = 64 };
typedef struct {
    char open[DEEP][16], id[IDS][40];
    size_t depth, n_ids;
    int heading;                       /* the level of the last one */
} reader;

/* The end of an attribute's value, or NULL. Ids are met once. */
static const char *read_attribute(reader *r, const char *at) {
    const size_t name = strcspn(at, "=<> \n");
    const char *value = at + name + 2;
    if (!name || at[name] != '=' || at[name + 1] != '"') return NULL;
    const size_t n = strcspn(value, "\"<");
    if (value[n] != '"') return NULL;
    if (name == 2 && !strncmp(at, "id", 2)) {
        for (size_t i = 0; i < r->n_ids; i++)
            if (strlen(r->id[i]) == n && !strncmp(r->id[i], value, n)) return NULL;
        if (r->n_ids == IDS || n >= 40) return NULL;
        snprintf(r->id[r->n_ids++], 40, "%.*s", (int)n, value);
    }
    return value + n + 1;
}

static const char *close_tag(reader *r, const char *at, size_t n) {
    if (!r->depth || at[n] != '>') return NULL;
    const char *open = r->open[--r->depth];
    return strlen(open) == n && !strncmp(open, at, n) ? at + n + 1 : NULL;
}

/* Headings go down a level at a time. */
static int is_in_order(reader *r, const char *name) {
    if (name[0] != 'h' || name[1] < '1' || name[1] > '6') return 1;
    const int level = name[1] - '0', fine = level <= r->heading + 1;
    r->heading = level;
    return fine;
}

/* A tag whose < is behind; where it ends, or NULL. */
static const char *read_tag(reader *r, const char *at) {
    const int closing = *at == '/';
    at += closing;
    const size_t n = strcspn(at, " />\n");
    if (!n || n >= 16) return NULL;
    if (closing) return close_tag(r, at, n);
    if (r->depth == DEEP) return NULL;
    snprintf(r->open[r->depth], 16, "%.*s", (int)n, at);
    if (!is_in_order(r, r->open[r->depth])) return NULL;
    for (at += n; at && *at == ' ';) at = read_attribute(r, at + 1);
    if (!at) return NULL;
    if (at[0] == '/' && at[1] == '>') return at + 2;
    r->depth++;
    return *at == '>' ? at + 1 : NULL;
}

/* Where a text is no markup, or NULL: it is. */
static const char *broken_at(const char *text) {
    static reader r;
    memset(&r, 0, sizeof r);
    if (!strncmp(text, "<!DOCTYPE html>\n", 16)) text += 16;
    while (*text) {
        const char *from = text;
        if (*text == '<') text = read_tag(&r, text + 1);
        else if (*text == '&') text = text[1] == '#' ? strchr(text, ';') : NULL;
        else if (*text == '>' || ((unsigned char)*text < 32 && *text != '\n')) text = NULL;
        else text++;
        if (!text) return from;
    }
    return r.depth ? text : NULL;
}

static void check_markup(const char *what, const char *text) {
    const char *at = broken_at(text);
    check_that(!at, "%s is no markup at: %.60s", what, at ? at : "");
}

static void test_reader(void) {
    static const char *const broken[] = {
        "<p>", "</p>", "<p></q>", "<p a=b></p>", "<p a=\"<\"></p>", "a < b", "a & b", "&amp",
        "<p id=\"x\"/><p id=\"x\"/>", "<h1></h1><h3></h3>", "\x01", "<p a=\"b\"", "a > b"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        check_that(broken_at(broken[i]) != NULL, "%s is taken for markup", broken[i]);
    check_markup("a page", "<!DOCTYPE html>\n<p class=\"a\"><br/>&#60; <i>b</i>\n</p><h1></h1>");
}

static size_t count(const char *text, const char *word) {
    size_t n = 0;
    for (; (text = strstr(text, word)) != NULL; text++) n++;
    return n;
}

static void check_has(const char *what, const char *text, const char *word) {
    check_that(strstr(text, word) != NULL, "%s: no %s in it", what, word);
}

/* ---- Text ---------------------------------------------------------------------------------- */

static void check_text(const char *bytes, const char *expected) {
    markup p = {NULL, 0, 0, 0};
    markup_text(&p, bytes);
    check_that(p.text && !strcmp(p.text, expected), "%s: expected %s, got %s", bytes, expected,
               p.text ? p.text : "nothing");
    markup_free(&p);
}

static void test_text(void) {
    check_text("a<b>&\"'", "a&#60;b&#62;&#38;&#34;&#39;");
    check_text("caf\xc3\xa9 \xf0\x9f\x98\x80", "caf\xc3\xa9 \xf0\x9f\x98\x80");
    check_text("caf\xe9|\xff", "caf\\xE9|\\xFF");
    check_text("a\nb\tc\x01", "a\\x0Ab\\x09c\\x01");
    check_text("\xed\xa0\x80\xef\xbf\xbf", "\\xED\\xA0\\x80\\xEF\\xBF\\xBF");
    markup p = {NULL, 0, 0, 0};
    for (int i = 0; i < 5000; i++) markup_add(&p, "%d%%,", i % 10);
    check_size(p.length, 15000, "a text that grows");
    check_that(!p.failed && !strncmp(p.text + 14994, "8%,9%,", 6), "and keeps its end");
    markup_free(&p);
    svg_words(&p, "s", 0, 0, 60, "a\xc3\xa9<ghijklmnop");
    check_has("cut", p.text, ">a\xc3\xa9&#60;ghijk&#8230;</text>");
    markup_free(&p);
    svg_words(&p, "s", 0, 0, 60, "abcdefghi");
    check_has("not cut", p.text, ">abcdefghi</text>");
    markup_free(&p);
}

static void test_axes(void) {
    static const double high[] = {1, 3.9, 4, 7, 47, 100, 600, 0.03};
    static const double end[] = {1, 4, 4, 8, 60, 100, 600, 0.03};
    for (size_t i = 0; i < sizeof high / sizeof *high; i++) {
        const svg_axis a = svg_axis_to(high[i], 10, 20);
        check_close(a.high, end[i], 1e-12, "an axis to %g", high[i]);
        check_close(svg_at(&a, a.high / 2), 15, 1e-9, "its middle");
    }
}

/* ---- Runs made by hand --------------------------------------------------------------------- */

enum { PROBLEMS = 8, RUNS_MOST = 12, SLOTS = 2, PROMPTS = 3 };

static void *filled(size_t n, size_t size) {
    void *p = calloc(n, size);
    if (!p) check_fatal("out of memory");
    return p;
}

/* right of 8 problems; at half of the steps half as many. A system with latents has all H at h. */
static void put_run(comparison *k, const char *system, size_t latents, size_t seed, size_t right,
                    double h) {
    run_entry *e = &k->entries[k->n_entries++];
    char error[300];
    options_defaults(RUN_OPTIONS, &e->set);
    snprintf(e->set.system, sizeof e->set.system, "%s", system);
    e->set.latents = latents;
    e->set.seed = seed;
    if (!run_system(&e->set, &e->system, error, sizeof error)) check_fatal(error);
    snprintf(e->folder, sizeof e->folder, "runs/<%s & \"%zu\">-%zu\xe9", system, latents, seed);
    for (int i = 0; i < NUMBERS; i++) e->number[i] = NAN;
    e->right = filled(PROBLEMS, 1);
    memset(e->right, 1, right);
    e->number[ACCURACY] = (double)right / PROBLEMS;
    e->n_curve = 2;
    e->curve = filled(2, sizeof *e->curve);
    for (size_t i = 0; i < 2; i++) {
        e->curve[i].step = 50 * (double)(i + 1) + (double)(seed % 2);    /* as at equal FLOPs */
        e->curve[i].accuracy = e->number[ACCURACY] * (double)(i + 1) / 2;
    }
    if (!strcmp(system, "none")) return;
    e->number[SWAPPED] = e->number[ACCURACY] / 2;
    e->swapped = filled(PROBLEMS, 1);
    e->latents.slots = SLOTS;
    e->latents.prompts = PROMPTS;
    e->latents.H = filled(SLOTS * SLOTS, sizeof(double));
    e->latents.plane = filled(2 * PROMPTS * SLOTS, sizeof(double));
    for (size_t i = 0; i < SLOTS * SLOTS; i++) e->latents.H[i] = h;
    for (size_t i = 0; i < 2 * PROMPTS * SLOTS; i++) e->latents.plane[i] = (double)i;
}

static void settle(dual_ctx *c, comparison *k, findings *all) {
    if (!families_arrange(c, k)) check_fatal(c->error);
    for (size_t i = 0; i < k->n_groups; i++) {
        k->groups[i].problems.n = PROBLEMS;
        snprintf(k->groups[i].problems.source, 20, "<made> problems");
    }
    if (!comparison_make_arms(c, k) || !findings_make(c, k, "", all)) check_fatal(c->error);
}

static comparison begin(dual_ctx *c) {
    comparison k;
    if (!comparison_begin(c, &k, RUNS_MOST, "", 1)) check_fatal(c->error);
    return k;
}

static void end(comparison *k, findings *all) {
    findings_free(all);
    comparison_free(k);
}

static char *text_of(const char *name) {
    size_t n;
    return (char *)read_bytes(in(name), &n);
}

static const char *const PICTURES[] = {"accuracy.svg", "curves.svg", "budget.svg", "overlap.svg",
                                       "latents.svg", "swapped.svg"};
enum { N_PICTURES = sizeof PICTURES / sizeof *PICTURES };

static void forget(void) {
    for (size_t i = 0; i < N_PICTURES; i++) remove(in(PICTURES[i]));
    remove(in("page.html"));
}

static comparison all_systems(dual_ctx *c, findings *all) {
    comparison k = begin(c);
    for (size_t seed = 1; seed <= 2; seed++) {
        put_run(&k, "none", 4, seed, 4, 0);
        put_run(&k, "h2", 2, seed, 5, 0.2 * (double)seed);
        put_run(&k, "h2", 4, seed, 4 + seed, 0.9);
    }
    put_run(&k, "liu", 2, 1, 2, 0.5);
    settle(c, &k, all);
    return k;
}

/* ---- The page ------------------------------------------------------------------------------ */

static void check_pictures(void) {
    for (size_t i = 0; i < N_PICTURES; i++) {
        char *text = text_of(PICTURES[i]);
        check_markup(PICTURES[i], text);
        check_has(PICTURES[i], text, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 380");
        check_has(PICTURES[i], text, "@media(prefers-color-scheme:dark)");
        check_has(PICTURES[i], text, "role=\"img\"");
        check_size(count(text, "<title") + count(text, "<desc"), 2, "%s: a title, a description",
                   PICTURES[i]);
        check_has(PICTURES[i], text, "h2");
        free(text);
    }
}

static void check_page(const char *html) {
    static const char *const needed[] = {
        "<html lang=\"en\">", "width=device-width", ">none<", ">h2:2<", ">h2:4<", ">liu:2<",
        "&#60;made&#62; problems", "runs/&#60;h2 &#38; &#34;4&#34;&#62;-1\\xE9", "--seed 2</code>",
        "<td>62.5</td>", "<td>34.4</td><td>31.2</td><td>37.5</td>",
        "<td>0.3000</td>", "<td>0.9000</td>", "scope=\"row\"", "scope=\"col\"",
        "  beside it<", ">h2 - liu<", ">content matters<", "<code>--steps "};
    static const char *const foreign[] = {"<script", "src=", "href=", "url(", "@import", "http"};
    check_markup("the page", html);
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        check_has("the page", html, needed[i]);
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        check_that(!strstr(html, foreign[i]), "%s: a page needs nothing else", foreign[i]);
    check_size(count(html, "<svg "), N_PICTURES, "pictures in the page");
    check_size(count(html, "<figcaption>"), N_PICTURES, "captions");
    check_size(count(html, "Left out: "), 0, "pictures left out");
    for (const char *at = html; (at = strstr(at, "<figure>")) != NULL; at++) {
        const char *table = strstr(at, "<table>"), *next = strstr(at + 1, "<figure>");
        check_that(table && (!next || table < next), "a table under each picture");
    }
}

static void test_page(void) {
    findings all;
    comparison k = all_systems(&ctx, &all);
    check_that(report_page_save(&ctx, &k, &all, in("page.html"), folder), "saved: %s", ctx.error);
    char *html = text_of("page.html");
    check_pictures();
    check_page(html);
    check_that(report_page_save(&ctx, &k, &all, in("page.html"), ""), "again: %s", ctx.error);
    char *again = text_of("page.html");
    check_that(!strcmp(html, again), "the same runs give the same bytes");
    free(html);
    free(again);
    end(&k, &all);
    forget();
}

/* Where a line's marks stand: behind its group's class, translate(X Y). */
static double mark_of(const char *picture, size_t i) {
    const char *at = picture;
    for (i++; i && at; i--) at = strstr(at + 1, "class=\"f\" transform=\"translate(");
    return at ? strtod(at + strlen("class=\"f\" transform=\"translate("), NULL) : NAN;
}

/* What is drawn is what was measured. */
static void test_drawing(void) {
    findings all;
    comparison k = all_systems(&ctx, &all);
    check_that(report_page_save(&ctx, &k, &all, in("page.html"), folder), "saved: %s", ctx.error);
    char *rows = text_of("accuracy.svg"), *curves = text_of("curves.svg");
    char *overlap = text_of("overlap.svg"), *slots = text_of("latents.svg");
    char *budget = text_of("budget.svg"), *swapped = text_of("swapped.svg");
    /* none 4, liu 2, h2:2 5, h2:4 5.5 of 8 */
    const double unit = (mark_of(rows, 0) - mark_of(rows, 1)) / 2;
    check_that(unit > 10, "a problem more is %g further right", unit);
    check_close((mark_of(rows, 2) - mark_of(rows, 0)) / unit, 1, 0.02, "one problem more");
    check_close((mark_of(rows, 3) - mark_of(rows, 2)) / unit, 0.5, 0.02, "half of one");
    check_size(count(swapped, "class=\"h\""), 3, "hollow marks: arms with latents");
    check_size(count(curves, "class=\"b\""), 3, "bands of arms with two seeds");
    for (size_t i = 0; i < k.n_arms; i++)
        check_size(k.arms[i].curve[0].seeds, k.arms[i].n, "seeds of an arm's first point");
    check_size(count(curves, "(1 seed)"), 1, "arms with one");
    check_size(count(curves, "class=\"o\""), 4 * 3, "all others behind each");
    check_size(count(budget, "class=\"b\""), 1, "h2 alone has two N_L");
    check_size(count(overlap, "fill-opacity=\"0.300\""), 4, "means over seeds");
    check_size(count(overlap, "fill-opacity=\"0.900\""), 4, "of another arm");
    check_size(count(slots, "a2 2 0 1 0 4 0"), 3 * (PROMPTS + 1) - 2, "round marks and the key's");
    free(rows);
    free(curves);
    free(overlap);
    free(slots);
    free(budget);
    free(swapped);
    end(&k, &all);
    forget();
}

/* ---- What cannot be drawn, what cannot be written ------------------------------------------- */

static void test_left_out(void) {
    static const char *const lines[] = {
        "Left out: no run was scored twice while it trained", "Left out: no two arms differ in N_L",
        "Left out: no arm has two slots", "Left out: no arm has latents that were analysed",
        "Left out: no arm has latents that depend on the problem"};
    comparison k = begin(&ctx);
    findings all;
    put_run(&k, "none", 4, 1, 0, 0);
    k.entries->n_curve = 1;
    settle(&ctx, &k, &all);
    check_that(report_page_save(&ctx, &k, &all, in("page.html"), folder), "saved: %s", ctx.error);
    char *html = text_of("page.html");
    check_markup("a page of one run that solves nothing", html);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) check_has("the page", html, lines[i]);
    check_size(count(html, "<svg "), 1, "pictures");
    check_size(count_entries(folder), POSIX ? 2 + 2 : 0, "files: the page, accuracy.svg, . and ..");
    free(html);
    end(&k, &all);
    forget();
}

/* A label made of an option's value, as long and as strange as it may be. */
static void test_strange(void) {
    comparison k = begin(&ctx);
    findings all;
    put_run(&k, "h2", 2, 1, 3, 0.5);
    put_run(&k, "h2", 2, 1, 3, 0.5);
    strcpy(k.entries[0].set.data, "dir/<b><script>&\"'\xff and a name that goes on and on.jsonl");
    strcpy(k.entries[1].set.data, "dir/\n.jsonl");
    settle(&ctx, &k, &all);
    check_that(report_page_save(&ctx, &k, &all, in("page.html"), folder), "saved: %s", ctx.error);
    char *html = text_of("page.html");
    check_markup("strange names", html);
    check_has("strange names", html, "h2:data=&#60;b&#62;&#60;script&#62;&#38;&#34;&#39;\\xFF");
    check_has("strange names", html, ">h2:data=\\x0A.jsonl<");
    free(html);
    end(&k, &all);
    forget();
}

static void test_refused(void) {
    comparison k = begin(&ctx);
    findings all;
    put_run(&k, "none", 4, 1, 3, 0);
    settle(&ctx, &k, &all);
    write_text(in("page.html"), "before");
    check_refused(&ctx, report_page_save(&ctx, &k, &all, in("no/page.html"), ""), "no folder");
    check_refused(&ctx, report_page_save(&ctx, &k, &all, in("page.html"), in("page.html")),
                  "pictures into a file");
    char *html = text_of("page.html");
    check_that(!strcmp(html, "before"), "a refusal leaves what was there");
    free(html);
    end(&k, &all);
    forget();
}

int main(int argc, char **argv) {
    void *memory = files_begin(argc, argv, "report");
    test_reader();
    test_text();
    test_axes();
    test_page();
    test_drawing();
    test_left_out();
    test_strange();
    test_refused();
    return files_end(memory);
}
