package archtest

import (
	"go/ast"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var testName = regexp.MustCompile("`(Test[A-Za-z0-9]+)`")

// TestGuaranteesNameTests holds that each test that README names as showing a guarantee exists.
func TestGuaranteesNameTests(t *testing.T) {
	t.Parallel()
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
	_, guarantees, ok := strings.Cut(read(t, "README.md"), "\n## Guarantees\n")
	require.True(t, ok, "README.md has no section Guarantees")
	guarantees, _, _ = strings.Cut(guarantees, "\n## ")
	named := testName.FindAllStringSubmatch(guarantees, -1)
	assert.NotEmpty(t, named)
	for _, name := range named {
		assert.True(t, tests[name[1]], "README.md names %s, which does not exist", name[1])
	}
}
