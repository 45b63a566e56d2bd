// Mocha's own spec reporter, which besides leaves its totals where scripts/test.mjs adds them up.
const { writeFileSync } = require('node:fs');
const { reporters } = require('mocha');

module.exports = class extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const { stats } = runner;
    runner.once('end', () => {
      const file = process.env.HYPERSTEP_TEST_TOTALS;
      const totals = { passed: stats.passes, failed: stats.failures, skipped: stats.pending };
      if (file) writeFileSync(file, JSON.stringify(totals));
    });
  }
};
