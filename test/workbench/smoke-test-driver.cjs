const { dirname, join } = require('node:path');
const process = require('node:process');

// Starts code-server (its entry point is the first argument) with an option of VS Code's server that its command line
// does not know: windows can be told to run tests. Only later versions than the engine floor's have a way of their own.
const [node, , entry, ...rest] = process.argv;
require(join(dirname(entry), 'cli.js')).options['enable-smoke-test-driver'] = { type: 'boolean' };
// It starts itself again by this.
process.argv = [node, entry, ...rest];
require(entry);
