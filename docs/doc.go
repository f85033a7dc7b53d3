// Package docs has tests only: they compare the documents with the code.
//
// The tests read README.md, CONTRIBUTING.md and the pages of this directory.
//
//   - A block ```go compiles. If it has a package clause, it is a program. Otherwise it is a part of a file, or of a
//     function, and may use the names of testdata/preamble.go and the packages of imports_test.go. Variables and
//     imports need not be used.
//   - A block ```go run is a program that also runs, on an embedded server in place of localhost:1113. If it has a
//     comment "// Output:", it prints the lines behind that.
//   - In a block ```sh, the commands go and esctl run in the order of the page, on an embedded server in place of the
//     one at port 1113. The table standIns says which commands of Go are only looked at, and why.
//   - A block ```json is JSON.
//   - Names of Go in other text exist, as do settings of connection strings.
//   - Links lead to files and headings that exist, and make's targets exist. Every page can be found from README.md.
package docs
