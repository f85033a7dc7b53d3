package archtest

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPublicNamesHaveComments checks that go doc has a sentence about each exported function, method, type, constant
// and variable.
func TestPublicNamesHaveComments(t *testing.T) {
	t.Parallel()
	for _, file := range sources(t) {
		if isPublic(file.dir()) && !file.isTest() && !isGenerated(file.name) {
			for _, wrong := range withoutComment(file.ast) {
				t.Errorf("%s: %s", file.line(wrong.pos), wrong.text)
			}
		}
	}
}

// withoutComment returns the exported names of a file that have no comment of their own and none of their group.
func withoutComment(file *ast.File) (found []complaint) {
	check := func(name *ast.Ident, comments ...*ast.CommentGroup) {
		for _, comment := range comments {
			if comment != nil {
				return
			}
		}
		if name.IsExported() {
			found = append(found, complaint{name.Pos(), name.Name + " has no comment"})
		}
	}
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if exportedReceiver(d.Recv) {
				check(d.Name, d.Doc)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					check(s.Name, d.Doc, s.Doc)
				case *ast.ValueSpec:
					for _, name := range s.Names {
						check(name, d.Doc, s.Doc, s.Comment)
					}
				}
			}
		}
	}
	return found
}

func TestMissingCommentsAreFound(t *testing.T) {
	t.Parallel()
	for text, complaints := range map[string]int{
		"func F() {}":                             1,
		"// F is fine.\nfunc F() {}":              0,
		"func f() {}":                             0,
		"func (t *T) F() {}":                      1,
		"func (t *t) F() {}":                      0,
		"type T int":                              1,
		"// T is fine.\ntype T int":               0,
		"var A, B = 1, 2":                         2,
		"// The numbers.\nvar A, B = 1, 2":        0,
		"const (\n\tA = 1 // fine\n\tB = 2\n)":    1,
		"// The numbers.\nconst (\n\tA = iota\n)": 0,
	} {
		assert.Len(t, withoutComment(parse(t, "package p\n"+text)), complaints, text)
	}
}

// TestExamplesAreRun checks that each example has its output, without which go test only compiles it.
func TestExamplesAreRun(t *testing.T) {
	t.Parallel()
	examples := 0
	for _, file := range sources(t) {
		if file.isTest() {
			for _, example := range doc.Examples(file.ast) {
				examples++
				assert.True(t, isRun(example), "%s: Example%s has no output", file.name, example.Name)
			}
		}
	}
	assert.NotZero(t, examples)
}

func isRun(example *doc.Example) bool { return example.Output != "" || example.EmptyOutput }

func TestExamplesThatAreNotRunAreFound(t *testing.T) {
	t.Parallel()
	const text = "package p\nfunc ExampleA() { f() // a\n}\nfunc ExampleB() { f()\n// Output: b\n}\n" +
		"func ExampleC() { f()\n// Output:\n}"
	examples := doc.Examples(parse(t, text))
	require.Len(t, examples, 3)
	assert.False(t, isRun(examples[0]))
	assert.True(t, isRun(examples[1]))
	assert.True(t, isRun(examples[2]))
}

func parse(t *testing.T, text string) *ast.File {
	t.Helper()
	mode := parser.ParseComments | parser.SkipObjectResolution
	file, err := parser.ParseFile(token.NewFileSet(), "p_test.go", text, mode)
	require.NoError(t, err, text)
	return file
}
