import js from '@eslint/js';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

export default defineConfig(
  {
    ignores: [
      'node_modules/',
      'dist/',
      'out/',
      '.cache/',
      // Declarations of what others implement; the style of their interfaces is theirs.
      '**/*.d.ts',
    ],
  },
  js.configs.recommended,
  tseslint.configs.strictTypeChecked,
  {
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      eqeqeq: 'error',
      'no-console': 'error',
      // The layer test tells type edges from value edges by this.
      '@typescript-eslint/consistent-type-imports': 'error',
      // Numbers and bigints are this project's subject; in a message they need no ceremony.
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      // `onExit(() => stop())` is read as intended; anything longer still has to say what it returns.
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      // `for (;;)` and `while (true)` are how a fetch loop is written.
      '@typescript-eslint/no-unnecessary-condition': [
        'error',
        { allowConstantLoopConditions: 'only-allowed-literals' },
      ],
      // A handler names the parameters of its contract even where it ignores one.
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      // `integerBelow<Mfn>('mfn', …)`: a parameter used once is how a brand is handed to a constructor.
      '@typescript-eslint/no-unnecessary-type-parameters': 'off',
      // Masks are written as `1 << n` and as unions of other members.
      '@typescript-eslint/prefer-literal-enum-member': ['error', { allowBitwiseExpressions: true }],
    },
  },
  {
    // The terminal is where these speak.
    files: ['scripts/**', 'bin/**', 'src/cli/**', 'src/cli.ts', 'test/**'],
    rules: { 'no-console': 'off' },
  },
  {
    // Plain Node, run before anything is installed: no project types to check against.
    files: ['**/*.mjs', '**/*.js', '**/*.cjs'],
    extends: [tseslint.configs.disableTypeChecked],
    languageOptions: {
      globals: {
        process: 'readonly',
        console: 'readonly',
        require: 'readonly',
        module: 'writable',
        __dirname: 'readonly',
        URL: 'readonly',
      },
    },
    rules: { '@typescript-eslint/no-require-imports': 'off' },
  },
);
