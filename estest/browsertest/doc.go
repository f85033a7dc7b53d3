// Package browsertest tests the page of the embedded server in a headless Chromium. It is a module of its own, so that
// the library does not require the packages that drive the browser. It contains tests only. Without a Chromium they are
// skipped.
package browsertest
