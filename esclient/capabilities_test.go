package esclient_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
)

// TestCapabilities holds docs/capabilities.md against the code: the tests that it names exist, and some example calls
// each method of the client.
func TestCapabilities(t *testing.T) {
	page, err := os.ReadFile("../docs/capabilities.md")
	require.NoError(t, err)
	functions, shown := testFunctions(t)
	rows := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || strings.HasPrefix(cells[1], "-") || strings.TrimSpace(cells[1]) == "Capability" {
			continue
		}
		rows++
		names := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(cells[3], -1)
		assert.NotEmpty(t, names, "no test: %s", line)
		for _, n := range names {
			assert.True(t, functions[n[1]], "there is no %s: %s", n[1], line)
		}
	}
	assert.GreaterOrEqual(t, rows, 30)

	for _, typ := range []reflect.Type{reflect.TypeFor[*esclient.Client](), reflect.TypeFor[*esadmin.Client]()} {
		for i := range typ.NumMethod() {
			assert.True(t, shown[typ.Method(i).Name], "no example calls %s.%s", typ, typ.Method(i).Name)
		}
	}
}

// testFunctions returns the names of all functions in test files of the module, and of what examples of this package
// call.
func testFunctions(t *testing.T) (functions, shown map[string]bool) {
	t.Helper()
	functions, shown = make(map[string]bool), make(map[string]bool)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		example := strings.HasPrefix(path, filepath.Join("..", "esclient")) && strings.HasPrefix(d.Name(), "example_")
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv != nil {
				continue
			}
			functions[f.Name.Name] = true
			if example {
				ast.Inspect(f.Body, func(n ast.Node) bool {
					if sel, ok := n.(*ast.SelectorExpr); ok {
						shown[sel.Sel.Name] = true
					}
					return true
				})
			}
		}
		return nil
	})
	require.NoError(t, err)
	return functions, shown
}
