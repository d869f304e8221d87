// The page's worker under node, without a browser: both builds of dual.c against the native programs.
// Usage: worker.mjs PAGE FOLDER; run.sh made the folder.
import { readFileSync } from 'node:fs';
import vm from 'node:vm';
import { check, difference, finish, read, traceOf } from './check.mjs';

const [page, folder] = process.argv.slice(2);
const scriptOf = (html, id) => {
    const begin = html.indexOf('>', html.indexOf(`id="${id}"`)) + 1;
    return html.slice(begin, html.indexOf('</script>', begin));
};
const html = readFileSync(page, 'utf8');
const bytes = (id) => Buffer.from(scriptOf(html, id), 'base64');

// A worker of its own; ask() as the page has it.
function worker() {
    const waiting = new Map(), news = [];
    let number = 0;
    const context = vm.createContext({
        TextDecoder, TextEncoder, WebAssembly, performance, setTimeout, atob, onmessage: null,
        postMessage(message) {
            if (message.progress) {
                news.push(message);
                return;
            }
            const { resolve, reject } = waiting.get(message.id);
            if (message.failure) reject(new Error(message.failure));
            else resolve(message.result);
        },
    });
    vm.runInContext(scriptOf(html, 'worker'), context);
    const ask = (task, more = {}) => new Promise((resolve, reject) => {
        waiting.set(++number, { resolve, reject });
        context.onmessage({ data: { id: number, task, ...more } });
    });
    return { ask, news };
}

async function trained(ask, news) {
    await ask('prepare', { seed: 1, latents: 4, rate: 0.005, baseSteps: 30, armSteps: 30 });
    await ask('train', { on: true });
    while (!news.some((n) => n.progress !== 'step')) await new Promise((go) => setTimeout(go, 50));
    check(news.at(-1).progress === 'done', 'training ends: ' + news.at(-1).why);
}

// step,loss of a log.csv
const logOf = (name) => readFileSync(`${folder}/${name}/log.csv`, 'utf8').trim().split('\n').slice(1)
    .map((line) => line.split(',').map(Number)).map(([step, loss]) => ({ step, loss }));

const only = process.env.PAGE_ONLY;
for (const build of ['simd', 'plain']) {
    if (only && only !== build) continue;
    const { ask, news } = worker();
    const nothing = Buffer.from([0]);
    const { fast } = await ask('start', build === 'simd' ? { simd: bytes('engine-simd'), plain: nothing }
                                                         : { simd: nothing, plain: bytes('engine-plain') });
    check(fast === (build === 'simd'), `${build}: the build that was asked for`);
    await trained(ask, news);
    for (const name of ['Base', 'none', 'soft', 'liu', 'h1', 'h2']) {
        const mine = news.filter((n) => n.name === name).map(({ step, loss }) => ({ step, loss }));
        const found = difference(logOf(name), mine);
        check(!found, `${build}: ${name} trains as ./train does: ${found}`);
    }
    for (const name of ['none', 'soft', 'liu', 'h1', 'h2', 'bytes']) {
        const run = JSON.parse(scriptOf(readFileSync(`${folder}/${name}.html`, 'utf8'), 'run'));
        const prompt = Buffer.from(run.prompt, 'base64').toString();
        const other = Buffer.from(run.other, 'base64').toString();
        const facts = await ask('load', { run });
        check(facts.step === 30, `${build}: ${name} after 30 steps`);
        for (const from of name === 'none' ? ['right'] : ['right', 'swapped', 'zero', 'drop:1']) {
            const expected = traceOf(read(`${folder}/${name}-${from}.json`));
            const got = await ask('trace', { name: 'run', prompt, y: '', from, other });
            const found = difference(expected, traceOf(got));
            check(!found, `${build}: ${name}, latents ${from}: trace differs at ${found}`);
        }
        if (name !== 'h2') continue;
        const { accuracy, loss } = read(`${folder}/h2-score.json`);
        const score = await ask('score', { name: 'run', from: 'right', count: 40 });
        const found = difference({ hits: accuracy.hits, of: accuracy.of, loss }, score);
        check(!found, `${build}: score differs at ${found}`);
    }
    for (const [what, asked, words] of [
        ['a prompt of unknown words', { prompt: 'numbers: apples', from: 'right' }, /apples/],
        ['latents from nowhere', { prompt: 'numbers: 3 7 2 target: 23', from: 'nowhere' }, /latents/],
        ['a slot too many', { prompt: 'numbers: 3 7 2 target: 23', from: 'drop:9' }, /drop/],
    ]) {
        const why = await ask('trace', { name: 'h2', y: '', other: '', ...asked }).catch((e) => e.message);
        check(typeof why === 'string' && words.test(why), `${build}: ${what}: ${JSON.stringify(why)}`);
    }
    const again = await ask('trace', { name: 'h2', prompt: 'numbers: 3 7 2 target: 23', y: '', from: 'right', other: '' });
    check(again.passes.length === 3, `${build}: after a refusal it goes on`);
}
finish();
