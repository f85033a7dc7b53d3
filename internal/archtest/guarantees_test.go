package archtest

import (
	"go/ast"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
)

var testName = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w*`)

// testNames has the names of all functions in test files.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	tests := make(map[string]bool)
	for _, file := range sources(t) {
		if !file.isTest() {
			continue
		}
		for _, decl := range file.ast.Decls {
			if fun, ok := decl.(*ast.FuncDecl); ok && fun.Recv == nil {
				tests[fun.Name.Name] = true
			}
		}
	}
	return tests
}

// TestDocumentsNameTestsThatExist checks all Markdown files. The guarantees name theirs.
func TestDocumentsNameTestsThatExist(t *testing.T) {
	t.Parallel()
	tests := testNames(t)
	for _, name := range files(t, ".md") {
		for _, test := range testName.FindAllString(read(t, name), -1) {
			assert.True(t, tests[test], "%s names %s, which does not exist", name, test)
		}
	}
	assert.Greater(t, len(testName.FindAllString(read(t, "docs/guarantees.md"), -1)), 50)
}

// maxTestName keeps names of tests to a subject and an expected result.
const maxTestName = 56

func TestNamesOfTestsAreShort(t *testing.T) {
	t.Parallel()
	for name := range testNames(t) {
		assert.LessOrEqual(t, len(name), maxTestName, "%s: name the subject and the expected result", name)
	}
}
