// Package browsertest tests the page of the embedded server in a headless Chromium. It is a module of its own, so that
// what drives the browser is no requirement of the library, and contains tests only. They are skipped where there is no
// Chromium.
package browsertest
