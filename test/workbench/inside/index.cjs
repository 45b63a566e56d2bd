const { appendFileSync } = require('node:fs');
const { homedir } = require('node:os');
const path = require('node:path');

/** What VS Code loads in the process of the extensions; TypeScript from here on. */
module.exports.run = async () => {
  try {
    require('tsx/cjs');
    await require('./run.ts').run();
  } catch (error) {
    const line = { end: true, error: error instanceof Error ? error.stack : String(error) };
    appendFileSync(path.join(homedir(), 'inside.ndjson'), `${JSON.stringify(line)}\n`);
    throw error;
  }
};
