// The page in headless Chromium, opened from disk: it trains, shows what ./eval trace says, swaps
// latents, switches systems, and can be walked by keyboard. Leaves screenshots in FOLDER.
// Usage: browser.mjs CHROMIUM NODE_MODULES PAGE FOLDER; run.sh made the folder.
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { check, difference, finish, read, traceOf } from './check.mjs';

const [chromium, modules, page, folder] = process.argv.slice(2);
const playwright = createRequire(resolve(modules) + '/')('playwright-core');
// A container's root has no sandbox for the browser.
const browser = await playwright.chromium.launch({ executablePath: chromium, args: ['--no-sandbox'] });
const errors = [];

async function open(file, options = {}) {
    const tab = await browser.newPage({ viewport: { width: 1200, height: 900 }, ...options });
    tab.setDefaultTimeout(0);
    tab.on('console', (m) => { if (m.type() === 'error' || m.type() === 'warning') errors.push(m.text()); });
    tab.on('pageerror', (e) => errors.push(e.message));
    if (options.before) await tab.addInitScript(options.before);
    await tab.goto('file://' + resolve(file));
    return tab;
}

const ready = (tab) => tab.waitForFunction(() =>
    !document.getElementById('go').disabled || document.getElementById('failure').textContent);
const choose = async (tab, name) => {
    await tab.evaluate((n) => choose(n), name);         // resolves once it is drawn
    return tab.evaluate(() => trace.passes.map((pass) => pass.name).join(' '));
};
const count = (tab, selector) => tab.locator(selector).count();
const answers = (tab) => tab.evaluate(() => answerAll());

// ---- training: 20 steps of the Base, 50 of each system
{
    const tab = await open(page);
    await ready(tab);
    check(/runs in this page, on this machine/.test(await tab.textContent('#engine')), 'SIMD is used');
    await tab.fill('#base-steps', '20');
    await tab.fill('#arm-steps', '50');
    await tab.click('#go');
    await tab.waitForFunction(() => curves.Base.loss.length > 0);
    await tab.click('#go');
    check(/^Paused/.test(await tab.textContent('#progress')), 'it pauses');
    check(await tab.textContent('#go') === 'Go on', 'and can go on');
    const paused = await tab.evaluate(async () => {
        await ask('train', { on: false });
        const before = JSON.stringify(await ask('facts'));
        for (let i = 0; i < 20; i++) await ask('facts');    // a turn would come between two of them
        return before === JSON.stringify(await ask('facts'));
    });
    check(paused, 'nothing is trained in a pause');
    await tab.click('#go');
    const longest = await tab.evaluate(() => new Promise((go) => {      // does the page hang?
        let last = performance.now(), most = 0;
        const beat = () => {
            most = Math.max(most, performance.now() - last);
            last = performance.now();
            if (finished || !training) go(most);
            else setTimeout(beat, 10);
        };
        beat();
    }));
    console.log(`the page's longest pause while it trained: ${longest.toFixed(0)} ms`);
    const losses = await tab.evaluate(() => Object.fromEntries(['none', 'soft', 'liu', 'h1', 'h2'].map((n) => [n, curves[n].loss])));
    for (const [name, points] of Object.entries(losses)) {
        check(points.at(-1).step === 50, `${name}: 50 steps`);
        check(points.at(-1).value < points[0].value - 0.05, `${name}: the loss falls: ${points.map((p) => p.value)}`);
    }
    check(await count(tab, '#loss-chart path') === 6 && await count(tab, '#share-chart path') === 5, 'its curves are drawn');
    check(/Done/.test(await tab.textContent('#progress')), 'it says when it is done');

    // what each system does differently, in the picture
    const picture = {};
    for (const name of ['none', 'soft', 'liu', 'h1', 'h2']) {
        const passes = await choose(tab, name);
        picture[name] = { passes, dashed: await count(tab, '#stage .edge.dashed'),
            phi: await count(tab, '#stage .ghost.phi'), Z: await count(tab, '#stage .cell.Z') };
    }
    check(picture.none.passes === 'speak' && picture.soft.passes === 'speak', 'one pass: none, soft');
    check(picture.h2.passes === 'read think speak' && picture.h2.dashed === 0 && picture.h2.Z === 4, 'h2: gradient everywhere');
    check(picture.liu.dashed > 0 && picture.liu.Z === 4, 'liu: none runs into the frozen read');
    check(picture.h1.dashed > 0 && picture.h1.Z === 0 && picture.h1.phi === 1, 'h1: no rows, KV_phi');
    await tab.check('#back');
    check(await count(tab, '#stage .edge.back') > 0, 'the way back is shown');
    await tab.close();
}

// ---- a run's page: the numbers of ./eval trace
{
    const tab = await open(`${folder}/h2.html`);
    await ready(tab);
    const shown = await tab.evaluate(() => trace), expected = traceOf(read(`${folder}/h2-right.json`));
    check(!difference(expected, traceOf(shown)), 'trace: ' + difference(expected, traceOf(shown)));
    for (const [p, pass] of expected.passes.entries())
        for (const [r, row] of pass.rows.entries()) {
            await tab.locator(`[data-pass="${p}"][data-row="${r}"]`).focus();
            const text = await tab.textContent('#row');
            const norms = [row.input, row.state].filter((x) => x !== null).map((x) => x.toFixed(2));
            check(norms.every((norm) => text.includes(norm)), `${pass.name}, row ${r}: ${norms} in ${text}`);
            const lit = await count(tab, '.cell.lit');
            check(lit === row.sees.reduce((sum, s) => sum + s.to - s.from + 1, 0), `${pass.name}, row ${r}: what it sees is lit`);
        }
    await tab.keyboard.press('ArrowUp');
    check(await tab.evaluate(() => document.activeElement.dataset.pass) === '1', 'an arrow key goes to the pass above');
    await tab.keyboard.press('Home');
    check(await tab.evaluate(() => document.activeElement.dataset.row) === '0', 'and to its first row');
    for (const from of ['swapped', 'zero', 'drop:1']) {
        await tab.selectOption('#from', from);
        const other = traceOf(read(`${folder}/h2-${from}.json`));
        await tab.evaluate(() => look());                 // resolves once it is drawn
        const found = difference(other, traceOf(await tab.evaluate(() => trace)));
        check(!found, `${from}: ${found}`);
        if (from === 'swapped') check(await count(tab, '#stage .edge.cut') > 0, 'it is seen to be replaced');
        await answers(tab);
        const answer = await tab.textContent(`#answers tr[data-from="${from}"] code`);
        check(answer === other.y.replace(/ ?<end>$/, ''), `Ask, ${from}: ${answer}, expected ${other.y}`);
    }
    check((await choose(tab, 'h1')) === 'read think speak', 'its own systems are there too');
    check(await count(tab, '.code') >= 20, `dual.c is quoted: ${await count(tab, '.code')} times`);
    await tab.close();
}

// ---- names for everything, nothing wider than a phone, and a word where WebAssembly is missing
{
    const tab = await open(`${folder}/h1.html`);
    await ready(tab);
    const nameless = await tab.evaluate(() => [...document.querySelectorAll('input, select, button, [role=img], [role=region]')]
        .filter((e) => !((e.labels && e.labels.length && e.labels[0].textContent.trim()) || e.getAttribute('aria-label') || (e.tagName === 'BUTTON' && e.textContent.trim())))
        .map((e) => e.outerHTML));
    check(!nameless.length, 'without a name: ' + nameless);
    for (const colorScheme of ['light', 'dark'])
        for (const width of [1200, 390]) {
            await tab.emulateMedia({ colorScheme });
            await tab.setViewportSize({ width, height: 900 });
            const wide = await tab.evaluate(() => document.documentElement.scrollWidth);
            check(wide <= width, `at ${width} px the page is ${wide} wide`);
            await tab.screenshot({ path: `${folder}/${colorScheme}-${width}.png`, fullPage: true });
        }
    await tab.close();
    const before = errors.length;
    const old = await open(page, { before: 'delete window.WebAssembly' });
    await old.waitForFunction(() => document.getElementById('failure').textContent);
    check(/no WebAssembly/.test(await old.textContent('#failure')), 'it says that WebAssembly is missing');
    await old.close();
    check(errors.length === before, 'and throws nothing');
}

await browser.close();
check(!errors.length, 'the console: ' + errors.join(' | '));
finish();
