package esclient

import (
	"go/ast"
	"go/parser"
	"go/token"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEveryHookIsSorted checks that each interface of hooks has a field in hookSet, and that sortHooks fills the field.
func TestEveryHookIsSorted(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "hooks.go", nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	interfaces, fields, filled := make(map[string]bool), make(map[string]string), make(map[string]int)
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.TypeSpec:
			if _, ok := n.Type.(*ast.InterfaceType); ok && n.Name.Name != "Hook" {
				interfaces[n.Name.Name] = true
			}
			if set, ok := n.Type.(*ast.StructType); ok && n.Name.Name == "hookSet" {
				for _, field := range set.Fields.List {
					fields[field.Names[0].Name] = field.Type.(*ast.ArrayType).Elt.(*ast.Ident).Name
				}
			}
		case *ast.CallExpr:
			if fun, ok := n.Fun.(*ast.Ident); ok && fun.Name == "collect" {
				filled[n.Args[1].(*ast.UnaryExpr).X.(*ast.SelectorExpr).Sel.Name]++
			}
		}
		return true
	})
	require.NotEmpty(t, fields)
	for field, hook := range fields {
		assert.True(t, interfaces[hook], "hookSet.%s has no interface", field)
		assert.Equal(t, 1, filled[field], "sortHooks must collect hookSet.%s once", field)
		delete(interfaces, hook)
	}
	assert.Empty(t, interfaces, "interfaces without a field in hookSet")
}
