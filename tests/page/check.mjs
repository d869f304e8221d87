// Counts checks; compares documents of numbers.
import { readFileSync } from 'node:fs';

let passed = 0, failed = 0;

export function check(holds, what) {
    if (holds) passed++;
    else {
        failed++;
        console.log('FAILED ' + what);
    }
    return holds;
}

export const finish = () => {
    console.log(`${passed} passed, ${failed} failed`);
    process.exitCode = failed ? 1 : 0;
};

export const read = (file) => JSON.parse(readFileSync(file, 'utf8'));

// Where b differs from a: texts and shapes at all, numbers by more than 1e-4 (of themselves, above 1).
export function difference(a, b, at = '') {
    if (typeof a === 'number' && typeof b === 'number')
        return Math.abs(a - b) <= 1e-4 * Math.max(1, Math.abs(a)) ? '' : `${at}: ${a} and ${b}`;
    if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object')
        return a === b ? '' : `${at}: ${JSON.stringify(a)} and ${JSON.stringify(b)}`;
    const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
    for (const key of keys) {
        const found = difference(a[key], b[key], `${at}.${key}`);
        if (found) return found;
    }
    return '';
}

// A trace alone, of a document of ./eval trace --json.
const TRACE = ['prompt', 'y', 'given', 'latents_of', 'passes', 'gradient', 'loss', 'grade'];
export const traceOf = (document) =>
    Object.fromEntries(TRACE.filter((key) => key in document).map((key) => [key, document[key]]));
