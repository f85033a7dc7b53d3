// Package archtest checks rules about the source and the documents that the compiler does not check: which package may
// import which, where Watermill and the testing libraries are used, that a library neither ends the process nor writes
// to its output, that every package looks for leaked goroutines, that lines are short, and that the files, functions
// and tests that documents name exist. It contains tests only and reads the files directly, so it also checks files
// behind a build tag.
package archtest
