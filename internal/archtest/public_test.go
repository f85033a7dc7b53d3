package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// publicPackages are the packages for users.
var publicPackages = []string{
	".", "esclient", "esclient/esadmin", "discovery", "esotel", "esprom", "essql", "estest", "esproto",
}

// TestPublicPackagesSpeakForThemselves checks that a user needs to read only the go doc of a public package: no
// exported name is an alias of another package's or takes its value from there, and no exported signature, field or
// method names a type that is internal or generated.
func TestPublicPackagesSpeakForThemselves(t *testing.T) {
	t.Parallel()
	generated := generatedTypes(t)
	require.NotEmpty(t, generated)
	seen := make(map[string]bool)
	for _, file := range sources(t) {
		dir := file.dir()
		if isPublic(dir) && !file.isTest() && !isGenerated(file.name) {
			seen[dir] = true
			for _, wrong := range lookAtPublic(file.ast, generated) {
				t.Errorf("%s: %s", file.line(wrong.pos), wrong.text)
			}
		}
	}
	assert.Len(t, seen, len(publicPackages))
}

func isPublic(dir string) bool {
	for _, p := range publicPackages {
		if dir == p {
			return true
		}
	}
	return false
}

func isGenerated(name string) bool { return strings.HasSuffix(name, ".pb.go") }

// generatedTypes returns the names of the types that are generated for esproto.
func generatedTypes(t *testing.T) map[string]bool {
	t.Helper()
	types := make(map[string]bool)
	for _, file := range sources(t) {
		if file.dir() != "esproto" || !isGenerated(file.name) {
			continue
		}
		for _, decl := range file.ast.Decls {
			if gen, ok := decl.(*ast.GenDecl); ok && gen.Tok == token.TYPE {
				for _, spec := range gen.Specs {
					types[spec.(*ast.TypeSpec).Name.Name] = true
				}
			}
		}
	}
	return types
}

// complaint is something in a public package that is not for users.
type complaint struct {
	pos  token.Pos
	text string
}

// publicFile is a file that is looked at.
type publicFile struct {
	imports   map[string]string // paths by the name that the file has for them
	generated map[string]bool
	found     []complaint
}

func lookAtPublic(file *ast.File, generated map[string]bool) []complaint {
	f := &publicFile{imports: make(map[string]string), generated: generated}
	for _, spec := range file.Imports {
		importPath, _ := strconv.Unquote(spec.Path.Value)
		name := path.Base(importPath)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		f.imports[name] = importPath
	}
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && exportedReceiver(d.Recv) {
				f.types(d.Type, d.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					f.typeSpec(s)
				case *ast.ValueSpec:
					f.values(s)
				}
			}
		}
	}
	return f.found
}

// exportedReceiver reports whether a function is no method, or one of an exported type.
func exportedReceiver(receiver *ast.FieldList) bool {
	if receiver == nil {
		return true
	}
	exported := false
	ast.Inspect(receiver.List[0].Type, func(n ast.Node) bool {
		if name, ok := n.(*ast.Ident); ok {
			exported = name.IsExported()
			return false
		}
		return true
	})
	return exported
}

func (f *publicFile) complain(at ast.Node, format string, args ...any) {
	f.found = append(f.found, complaint{at.Pos(), fmt.Sprintf(format, args...)})
}

func (f *publicFile) typeSpec(s *ast.TypeSpec) {
	if !s.Name.IsExported() {
		return
	}
	if s.Assign.IsValid() {
		f.complain(s, "%s is an alias: go doc shows nothing of it", s.Name.Name)
	}
	if s.TypeParams != nil {
		f.types(s.TypeParams, s.Name.Name)
	}
	f.types(s.Type, s.Name.Name)
}

// values looks at variables and constants, whose values go doc shows.
func (f *publicFile) values(s *ast.ValueSpec) {
	for i, name := range s.Names {
		if !name.IsExported() {
			continue
		}
		if s.Type != nil {
			f.types(s.Type, name.Name)
		}
		if i < len(s.Values) {
			f.value(s.Values[i], name.Name)
		}
	}
}

// value complains of a value that another package defines.
func (f *publicFile) value(v ast.Expr, of string) {
	ast.Inspect(v, func(n ast.Node) bool {
		if _, ok := n.(*ast.FuncLit); ok {
			return false
		}
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if p := f.packageOf(sel); internal(p) || p == module+"/esproto" {
				f.complain(sel, "%s is %s.%s: go doc shows that, not its definition", of, path.Base(p), sel.Sel.Name)
			}
		}
		return true
	})
}

// types complains of the types in a signature or a declaration that users cannot name, or should not have to know. What
// is unexported in a struct or an interface is not shown.
func (f *publicFile) types(expr ast.Node, of string) {
	ast.Inspect(expr, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			return len(n.Names) == 0 || anyExported(n.Names) || !f.inStruct(expr, n)
		case *ast.SelectorExpr:
			switch p := f.packageOf(n); {
			case internal(p):
				f.complain(n, "%s has %s.%s, which is internal", of, path.Base(p), n.Sel.Name)
			case p == module+"/esproto" && f.generated[n.Sel.Name]:
				f.complain(n, "%s has esproto.%s, which is generated", of, n.Sel.Name)
			}
			return false
		}
		return true
	})
}

// inStruct reports whether a field is one of a struct or an interface, and no parameter, whose name does not count.
func (f *publicFile) inStruct(expr ast.Node, field *ast.Field) (found bool) {
	ast.Inspect(expr, func(n ast.Node) bool {
		var fields *ast.FieldList
		switch n := n.(type) {
		case *ast.StructType:
			fields = n.Fields
		case *ast.InterfaceType:
			fields = n.Methods
		default:
			return true
		}
		for _, other := range fields.List {
			found = found || other == field
		}
		return true
	})
	return found
}

func anyExported(names []*ast.Ident) bool {
	for _, name := range names {
		if name.IsExported() {
			return true
		}
	}
	return false
}

// packageOf returns the path of the package that a selector names; empty if it selects something else.
func (f *publicFile) packageOf(sel *ast.SelectorExpr) string {
	if x, ok := sel.X.(*ast.Ident); ok {
		return f.imports[x.Name]
	}
	return ""
}

func internal(importPath string) bool { return strings.HasPrefix(importPath, module+"/internal/") }

func TestLookAtPublic(t *testing.T) {
	t.Parallel()
	const head = "package p\nimport (\n\t\"" + module + "/internal/engine\"\n\tproto \"" + module + "/esproto\"\n)\n"
	for text, complaints := range map[string]int{
		"type T = engine.Conn":                                        2, // an alias, of something internal
		"type T = string":                                             1,
		"type t = engine.Conn":                                        0,
		"var Err = engine.ErrClosed":                                  1,
		"var err = engine.ErrClosed":                                  0,
		"var ErrA, errB = err, engine.ErrClosed":                      0,
		"const Most = 2 * proto.MaxFrameSize":                         1,
		"const Most = V(proto.MaxFrameSize)":                          1,
		"var V engine.Conn":                                           1,
		"type T struct { c *engine.Conn; D int }":                     0,
		"type T struct { C []*engine.Conn }":                          1,
		"type T struct { engine.Conn }":                               1,
		"type T interface { Do(c engine.Conn); undo(c engine.Conn) }": 1,
		"type T func(c engine.Conn) (engine.Conn, error)":             2,
		"type T map[string]func() proto.Generated":                    1,
		"type T struct { C proto.Command }":                           0,
		"type T[P engine.Conn] struct{}":                              1,
		"func F(c engine.Conn) {}":                                    1,
		"func F() *proto.Generated { return nil }":                    1,
		"func F() proto.Command { return 0 }":                         0,
		"func f(c engine.Conn) {}":                                    0,
		"func (t *T[P]) M(c engine.Conn) {}":                          1,
		"func (t *t) M(c engine.Conn) {}":                             0,
		"func F() { engine.Do() }":                                    0,
		"func F[P engine.Conn]() {}":                                  1,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "p.go", head+text, parser.SkipObjectResolution)
		require.NoError(t, err, text)
		assert.Len(t, lookAtPublic(file, map[string]bool{"Generated": true}), complaints, text)
	}
}

// TestOneFileKnowsTheErrorsOfTheEngine holds that esclient makes errors of its own of them in one place.
func TestOneFileKnowsTheErrorsOfTheEngine(t *testing.T) {
	t.Parallel()
	knows := 0
	for _, file := range sources(t) {
		if file.dir() != "esclient" || file.isTest() {
			continue
		}
		ast.Inspect(file.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := sel.X.(*ast.Ident)
			name := sel.Sel.Name
			if !ok || x.Name != "engine" || !strings.HasPrefix(name, "Err") && !strings.HasSuffix(name, "Error") {
				return true
			}
			if path.Base(file.name) == "errors_engine.go" {
				knows++
			} else {
				t.Errorf("%s: engine.%s: errors of the engine belong to errors_engine.go", file.line(n.Pos()), name)
			}
			return true
		})
	}
	assert.NotZero(t, knows)
}
