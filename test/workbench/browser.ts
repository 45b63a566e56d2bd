import { createRequire } from 'node:module';

// The part of playwright-core's interface that these tests use. The library itself is installed with the
// workbench, outside of this project's own packages.

export interface Locator {
  locator(selector: string): Locator;
  filter(options: { readonly hasText?: string | RegExp; readonly has?: Locator }): Locator;
  first(): Locator;
  last(): Locator;
  nth(index: number): Locator;
  count(): Promise<number>;
  contentFrame(): FrameLocator;
  click(options?: { readonly timeout?: number; readonly button?: 'left' | 'right' }): Promise<void>;
  hover(options?: { readonly timeout?: number }): Promise<void>;
  fill(text: string, options?: { timeout?: number }): Promise<void>;
  innerText(): Promise<string>;
  allInnerTexts(): Promise<string[]>;
  boundingBox(): Promise<{
    readonly x: number;
    readonly y: number;
    readonly width: number;
    readonly height: number;
  } | null>;
  /** Evaluates an expression in the element's frame. */
  evaluate<T>(expression: string): Promise<T>;
  getAttribute(name: string): Promise<string | null>;
  isVisible(): Promise<boolean>;
  waitFor(options?: {
    readonly state?: 'attached' | 'detached' | 'visible' | 'hidden';
    readonly timeout?: number;
  }): Promise<void>;
}

/** What is in a frame. */
export interface FrameLocator {
  locator(selector: string): Locator;
  frameLocator(selector: string): FrameLocator;
}

export interface Page {
  context(): {
    grantPermissions(names: readonly string[]): Promise<void>;
  };
  readonly keyboard: {
    press(key: string): Promise<void>;
    type(text: string, options?: { readonly delay?: number }): Promise<void>;
  };
  readonly mouse: {
    move(x: number, y: number, options?: { readonly steps?: number }): Promise<void>;
    down(): Promise<void>;
    up(): Promise<void>;
  };
  goto(url: string): Promise<unknown>;
  locator(selector: string): Locator;
  screenshot(options: {
    readonly path: string;
    readonly type?: 'jpeg' | 'png';
    readonly quality?: number;
    readonly clip?: {
      readonly x: number;
      readonly y: number;
      readonly width: number;
      readonly height: number;
    };
  }): Promise<unknown>;
  on(event: 'pageerror', listener: (error: Error) => void): void;
  on(event: 'console', listener: (message: { type(): string; text(): string }) => void): void;
  setDefaultTimeout(ms: number): void;
  close(): Promise<void>;
}

export interface Browser {
  newPage(options: { readonly viewport: { readonly width: number; readonly height: number } }): Promise<Page>;
  close(): Promise<void>;
}

interface Playwright {
  readonly chromium: {
    launch(options: {
      readonly executablePath: string;
      readonly headless: boolean;
      readonly args: readonly string[];
      readonly env: NodeJS.ProcessEnv;
    }): Promise<Browser>;
  };
}

/** Chromium without a window; it makes no connection of its own accord. `close` ends it. */
export function startBrowser(library: string, executable: string, home: string): Promise<Browser> {
  const { chromium } = createRequire(__filename)(library) as Playwright;
  return chromium.launch({
    executablePath: executable,
    headless: true,
    args: [
      // Root has no user namespaces to sandbox with; the only page it opens is ours.
      '--no-sandbox',
      '--disable-gpu',
      // Containers have little of it.
      '--disable-dev-shm-usage',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
    env: { ...process.env, HOME: home },
  });
}
