// Package archtest holds the rules about the source itself that the compiler does not hold: which package may import
// which, where Watermill and the testing libraries may be used, that a library neither ends the process nor writes to
// its output, that every package looks for leaked goroutines, and how long lines are, those of Markdown included. It
// contains tests only and reads the files directly, so those behind a build tag are checked as well.
package archtest
