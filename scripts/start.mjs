// `npm start`: on a fresh clone, installs and builds; then runs the demonstration on the bundled sample guest.
import { installAndBuild, run } from './install.mjs';

installAndBuild();
run(process.execPath, ['dist/cli.js', 'demo', ...process.argv.slice(2)]);
