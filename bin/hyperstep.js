#!/usr/bin/env node
const { existsSync } = require('node:fs');
const path = require('node:path');

const cli = path.join(__dirname, '..', 'dist', 'cli.js');
if (existsSync(cli)) {
  require(cli);
} else {
  console.error(
    `hyperstep: ${cli} is not built; run \`npm start\` or \`npm run build\` in the checkout first`,
  );
  process.exitCode = 2;
}
