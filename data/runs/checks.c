/* checks.c: see checks.h. */
#include "checks.h"
#include "ranks.h"
#include <stdio.h>
#include <string.h>

/* What each objective and task can do, and what of it makes no sense together. */
static int check_objective(dual_ctx *c, const run_settings *set, const dual_system *system) {
    const int lm = run_is_lm(set), pretrain = run_is_pretrain(set);
    const int text = !strcmp(set->task, "text"), countdown = !strcmp(set->task, "countdown");
    if (options_word(set->objective, "answer lm pretrain") < 0)
        return dual_failed(c, "--objective: answer, lm or pretrain, not %s", set->objective);
    if (lm && (system->inject != DUAL_NONE || !system->base_trained))
        return dual_failed(c, "--objective lm trains a Base: leave --system at none");
    if ((lm || pretrain) && !text && !countdown)
        return dual_failed(c, "--objective %s is for --task text, or for the text that --task "
                           "countdown makes", set->objective);
    if ((lm || pretrain) && countdown && *set->data)
        return dual_failed(c, "--data holds problems with answers; --objective %s makes its own "
                           "text", set->objective);
    if (text && !*set->data) return dual_failed(c, "--task text wants --data, a file or a folder");
    if (text && !lm && !pretrain)
        return dual_failed(c, "--task text has no questions: --objective lm or pretrain");
    if (!strcmp(set->task, "gsm8k") && !*set->data)
        return dual_failed(c, "--task gsm8k wants --data: a file of its rows");
    if (system->inject == DUAL_NONE && !system->base_trained)
        return dual_failed(c, "no latents and a frozen Base: nothing would be trained");
    if (run_is_curriculum(set) && set->latents_per_stage && !system->base_trained)
        return dual_failed(c, "--latents-per-stage: stage 0 has no latents, so with a frozen Base "
                           "nothing would be trained in it; without it every stage has --latents");
    if (*set->from && system->inject == DUAL_NONE && !lm)
        return dual_failed(c, "--from takes Coprocessor and soft tokens too; --system none has "
                           "neither: --base");
    return 1;
}

/* Words and numbers that an option cannot have. */
static int check_values(dual_ctx *c, const run_settings *set, const dual_system *system) {
    if (options_word(set->base_stored, "real file bf16") < 0)
        return dual_failed(c, "--base-stored: real, file or bf16, not %s", set->base_stored);
    if (strcmp(set->base_stored, "real") && system->base_trained)
        return dual_failed(c, "--base-stored %s: weights of 16 bits cannot be trained; it is for a "
                           "frozen Base (liu, h1, prompt)", set->base_stored);
    if (options_word(set->broken, "fatal skip") < 0)
        return dual_failed(c, "--broken: fatal or skip, not %s", set->broken);
    if (options_word(set->schedule, "cosine constant") < 0)
        return dual_failed(c, "--schedule: cosine or constant, not %s", set->schedule);
    if (options_word(set->steps_shown, "none all curriculum") < 0)
        return dual_failed(c, "--steps-shown: none, all or curriculum, not %s", set->steps_shown);
    if (set->warmup > 1 || set->facts > 1 || set->uniform_stage > 1 || set->held_out > 0.9)
        return dual_failed(c, "--warmup, --facts and --uniform-stage are shares: 0 to 1, "
                           "--held-out 0 to 0.9");
    if (set->facts + set->solved > 1 + 1e-9)
        return dual_failed(c, "--facts %g and --solved %g are shares of the same samples: together "
                           "at most 1", set->facts, set->solved);
    if (set->stages > RUN_STAGES) return dual_failed(c, "--stages: at most %d", RUN_STAGES);
    if (set->score_points > 1000) return dual_failed(c, "--score-points: at most 1000");
    if (!set->batch || set->context < 2)
        return dual_failed(c, "--batch must be above 0, --context above 1");
    if (!set->accumulate || set->accumulate > set->batch)
        return dual_failed(c, "--accumulate: 1 to the batch, %zu, not %zu", set->batch,
                           set->accumulate);
    if (set->accumulate * ranks_count() > set->batch)
        return dual_failed(c, "--batch %zu is less than one sequence for each part of each rank: "
                           "%zu ranks, --accumulate %zu; fewer ranks, or a larger batch",
                           set->batch, ranks_count(), set->accumulate);
    if (!set->log_every || !set->save_every)
        return dual_failed(c, "--log-every and --save-every must be above 0");
    return 1;
}

int run_check_settings(dual_ctx *c, const run_settings *set, const dual_system *system) {
    return check_objective(c, set, system) && check_values(c, set, system);
}

int run_hold_data(const run_settings *set, int goes_on, const char *file, char held[80],
                  const char *now, char *error, size_t size) {
    const int same = !goes_on || !*held || !strcmp(held, now);
    if (!same)
        snprintf(error, size, "%s is not what it was when %s began: %s now, %s then; nothing was "
                 "changed", file, set->out, *now ? now : "nothing", held);
    else strcpy(held, now);
    return same;
}
