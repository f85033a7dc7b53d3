package docs

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"go/types"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/go/packages"
)

// library has the packages that documents may use.
type library struct {
	byPath map[string]*types.Package
	byName map[string]string // paths of the packages of imports_test.go
}

// newLibrary loads the packages of imports_test.go and others.
func newLibrary(t *testing.T, others ...string) library {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "imports_test.go", nil, parser.ImportsOnly)
	require.NoError(t, err)
	named := make(map[string]bool)
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		require.NoError(t, err)
		named[path] = true
	}
	loaded, err := packages.Load(&packages.Config{Mode: packages.LoadTypes},
		append(slices.Collect(maps.Keys(named)), others...)...)
	require.NoError(t, err)
	lib := library{make(map[string]*types.Package), make(map[string]string)}
	for _, p := range loaded {
		if len(p.Errors) > 0 { // a block with that import does not compile
			t.Logf("%s: %v", p.PkgPath, p.Errors)
			require.False(t, named[p.PkgPath])
			continue
		}
		lib.byPath[p.PkgPath] = p.Types
		if named[p.PkgPath] {
			assert.NotContains(t, lib.byName, p.Name, "two packages of imports_test.go have one name")
			lib.byName[p.Name] = p.PkgPath
		}
	}
	return lib
}

// Import implements types.Importer.
func (l library) Import(path string) (*types.Package, error) {
	if p := l.byPath[path]; p != nil {
		return p, nil
	}
	return nil, errors.New("no such package in the modules of docs/go.mod")
}

// compiler type-checks the blocks of one page.
type compiler struct {
	lib    library
	set    *token.FileSet
	faults []string
}

// faults returns the errors of the compiler about the Go blocks of one page.
func (l library) faults(t *testing.T, page []block) []string {
	t.Helper()
	c := &compiler{lib: l, set: token.NewFileSet()}
	var parts []*ast.File
	declared := make(map[string]bool)
	for _, b := range page {
		if b.lang != "go" {
			continue
		}
		if file, err := c.parse(b, "", ""); err == nil {
			c.check(file)
			continue
		}
		if file := c.parsePart(b); file != nil {
			parts = append(parts, file)
			maps.Copy(declared, declarations(file))
		}
	}
	preamble, err := os.ReadFile("testdata/preamble.go")
	require.NoError(t, err)
	file, err := parser.ParseFile(c.set, "testdata/preamble.go", preamble, 0)
	require.NoError(t, err)
	hide(file, declared)
	for _, part := range parts {
		c.addImports(part, declared)
	}
	c.check(append(parts, file)...)
	return c.faults
}

// parse parses a block between two texts, of which the first has no new line.
func (c *compiler) parse(b block, before, after string) (*ast.File, error) {
	source := fmt.Sprintf("%s/*line %s:%d:1*/%s%s", before, b.page, b.line, b.text, after)
	return parser.ParseFile(c.set, "block.go", source, 0)
}

// parsePart parses a block without a package clause: declarations, or else the body of a function that may return an
// error.
func (c *compiler) parsePart(b block) *ast.File {
	file, notDeclarations := c.parse(b, "package page;", "")
	if notDeclarations == nil {
		return file
	}
	file, notStatements := c.parse(b, "package page; func _() (_ error) {", "\nreturn }")
	if notStatements == nil {
		return file
	}
	// The one that the parser reads further shows the intended form of the block.
	err := notStatements
	if position(notDeclarations) > position(notStatements) {
		err = notDeclarations
	}
	c.faults = append(c.faults, err.Error())
	return nil
}

// position returns how far the parser got until the first error.
func position(err error) int {
	if list := (scanner.ErrorList)(nil); errors.As(err, &list) {
		return list[0].Pos.Line
	}
	return 0
}

// declarations returns the names that a file declares for its package.
func declarations(file *ast.File) map[string]bool {
	names := make(map[string]bool)
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				names[d.Name.Name] = true
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					names[s.Name.Name] = true
				case *ast.ValueSpec:
					for _, name := range s.Names {
						names[name.Name] = true
					}
				}
			}
		}
	}
	return names
}

// hide removes the declarations from the preamble that a page makes itself.
func hide(preamble *ast.File, declared map[string]bool) {
	for _, decl := range preamble.Decls {
		if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.VAR {
			for _, spec := range d.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					if declared[name.Name] {
						name.Name = "_"
					}
				}
			}
		}
	}
}

// addImports imports the packages of the names that no block declares.
func (c *compiler) addImports(file *ast.File, declared map[string]bool) {
	imported := make(map[string]bool)
	for _, name := range file.Unresolved {
		path := c.lib.byName[name.Name]
		if path == "" || declared[name.Name] || imported[name.Name] {
			continue
		}
		imported[name.Name] = true
		spec := &ast.ImportSpec{
			Name: ast.NewIdent(name.Name), Path: &ast.BasicLit{Kind: token.STRING, Value: strconv.Quote(path)},
		}
		file.Imports = append(file.Imports, spec)
		file.Decls = append([]ast.Decl{&ast.GenDecl{Tok: token.IMPORT, Specs: []ast.Spec{spec}}}, file.Decls...)
	}
}

// check type-checks the files of one package. What a document need not do is no fault: use each variable and import,
// and have a new variable at each :=.
func (c *compiler) check(files ...*ast.File) {
	config := types.Config{Importer: c.lib, Error: func(err error) {
		if wrong := (types.Error{}); !errors.As(err, &wrong) || !wrong.Soft {
			c.faults = append(c.faults, err.Error())
		}
	}}
	_, _ = config.Check(files[0].Name.Name, c.set, files, nil) // Error has had the errors
}

// importsOf returns the imports of blocks with a package clause or an import declaration.
func importsOf(all map[string][]block) (paths []string) {
	for _, page := range all {
		for _, b := range page {
			for _, before := range []string{"", "package page;"} {
				file, err := parser.ParseFile(token.NewFileSet(), b.page, before+b.text, parser.ImportsOnly)
				if b.lang != "go" || err != nil {
					continue
				}
				for _, spec := range file.Imports {
					if path, err := strconv.Unquote(spec.Path.Value); err == nil {
						paths = append(paths, path)
					}
				}
			}
		}
	}
	return paths
}

func TestGoOfDocumentsCompiles(t *testing.T) {
	t.Parallel()
	names, all := pages(t)
	lib := newLibrary(t, importsOf(all)...)
	looked := 0
	for _, name := range names {
		for _, fault := range lib.faults(t, all[name]) {
			t.Error(fault)
		}
		for _, b := range all[name] {
			if b.lang == "go" {
				looked++
			}
		}
	}
	assert.Greater(t, looked, 10)
}

func TestFaultsOfGoAreFound(t *testing.T) {
	t.Parallel()
	lib := newLibrary(t)
	const program = "package main\nimport \"fmt\"\nfunc main() { %s }\n"
	for _, tt := range []struct {
		blocks []string
		want   string // "" if they compile
	}{
		{blocks: []string{"publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{}, logger)\n"}},
		{blocks: []string{"x := 1\nx := 2\n"}},
		{blocks: []string{"import \"fmt\"\n\nfunc f() {}\n"}},
		{blocks: []string{"if err := publisher.Close(); err != nil {\n\treturn err\n}\n"}},
		{blocks: []string{"type order struct{ ID int }\n", "o := order{ID: 1}\n", "func (order) id() {}\n"}},
		{blocks: []string{"func handle(n int) {}\n", "handle(1)\n"}},
		{blocks: []string{fmt.Sprintf(program, "fmt.Println()"), fmt.Sprintf(program, "")}},
		{blocks: []string{"var errors = 1\n", "y := errors + 1\n"}},

		{[]string{"publisher.Publisch()\n"}, "page.md:1:11: publisher.Publisch undefined"},
		{[]string{"x := 1\n\nc := eventstore.Config{}\n"}, "page.md:3:17: undefined: eventstore.Config"},
		{[]string{"c := eventstore.PublisherConfig{Stream: 1}\n"}, "unknown field Stream"},
		{[]string{"clinet.Close()\n"}, "undefined: clinet"},
		{[]string{"var x int = \"\"\n"}, "cannot use \"\""},
		{[]string{"func f() (int, error) { return 1 }\n"}, "not enough return values"},
		{[]string{"return 1, nil\n"}, "too many return values"},
		{[]string{"x := []int{1,\n"}, "page.md:"},
		{[]string{"func f() {\n\tx(…)\n}\n"}, "page.md:2:4: illegal character U+2026"},
		{[]string{"x := 1\ny := f(…)\n"}, "page.md:2:8: illegal character U+2026"},
		{[]string{"handle(1)\n"}, "cannot use 1"},
		{[]string{"o := order{}\n"}, "undefined: order"},
		{[]string{fmt.Sprintf(program, "fmt.Printn()")}, "undefined: fmt.Printn"},
		{[]string{"package main\nimport \"example.com/none\"\nfunc main() { none.F() }\n"}, "no such package"},
		{[]string{"package main\nfunc main() { fmt.Println() }\n"}, "undefined: fmt"},
	} {
		var page []block
		for _, text := range tt.blocks {
			page = append(page, block{page: "page.md", line: 1, lang: "go", text: text})
		}
		faults := strings.Join(lib.faults(t, page), "\n")
		if tt.want == "" {
			assert.Empty(t, faults, tt.blocks)
			continue
		}
		assert.Contains(t, faults, tt.want, tt.blocks)
	}
}

func TestJSONOfDocumentsIsJSON(t *testing.T) {
	t.Parallel()
	names, all := pages(t)
	for _, name := range names {
		for _, b := range all[name] {
			if b.lang == "json" {
				assert.True(t, json.Valid([]byte(b.text)), "%s:%d", b.page, b.line)
			}
		}
	}
}
