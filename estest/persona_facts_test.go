package estest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const factsFile = "persona_facts.go"

var eraName = regexp.MustCompile(`^(era[0-9]*|versions|factsOf[0-9]*)$`)

// asksForVersion lists where code depends on a version instead of a fact: it names an era or compares a persona.
func asksForVersion(file *ast.File) (found []string) {
	isPersona := func(e ast.Expr) bool {
		if s, ok := e.(*ast.SelectorExpr); ok {
			return s.Sel.Name == "version" && strings.HasSuffix(nameOf(s.X), "persona") || s.Sel.Name == "full"
		}
		return strings.HasPrefix(nameOf(e), "Persona")
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			if eraName.MatchString(n.Name) {
				found = append(found, n.Name)
			}
		case *ast.BinaryExpr:
			if isPersona(n.X) || isPersona(n.Y) {
				found = append(found, "comparison "+n.Op.String())
			}
		case *ast.CaseClause:
			if slices.ContainsFunc(n.List, isPersona) {
				found = append(found, "case")
			}
		}
		return true
	})
	return found
}

// nameOf is the last name of an expression such as s.core.persona.
func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// sourcesOf parses the files of this package, and of those below it, that are no tests.
func sourcesOf(t *testing.T) map[string]*ast.File {
	t.Helper()
	files := make(map[string]*ast.File)
	for _, pattern := range []string{"*.go", "internal/*/*.go"} {
		names, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, name := range names {
			if !strings.HasSuffix(name, "_test.go") {
				files[name], err = parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
				require.NoError(t, err)
			}
		}
	}
	require.Contains(t, files, factsFile)
	return files
}

func TestCodeAsksForFacts(t *testing.T) {
	for name, file := range sourcesOf(t) {
		switch name {
		case factsFile:
			assert.NotEmpty(t, asksForVersion(file))
		case "persona.go": // makes the facts of a persona
			assert.ElementsMatch(t, []string{"versions", "era", "factsOf"}, asksForVersion(file))
		default:
			assert.Empty(t, asksForVersion(file), "%s: ask for a fact of %s", name, factsFile)
		}
	}
}

func TestCodeThatAsksForAVersionIsFound(t *testing.T) {
	for _, code := range []string{
		"if p.since(era20) {}", "if p.era >= 2 {}", "if p.version == Persona414 {}", "if cfg.persona != Persona2310 {}",
		"if c.core.persona.version < x {}", "switch p { case Persona414: }", `if p.full > "5" {}`, "f := factsOf(x)",
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "", "package p\nfunc f() {"+code+"}", 0)
		require.NoError(t, err, code)
		assert.NotEmpty(t, asksForVersion(file), code)
	}
	file, err := parser.ParseFile(token.NewFileSet(), "",
		`package p; func f() { if p.countsDeliveries { say(p.version, Persona414, p.full) } }`, 0)
	require.NoError(t, err)
	assert.Empty(t, asksForVersion(file))
}

// factFields are the facts, also those of the parts of a server.
func factFields() []reflect.StructField {
	return slices.DeleteFunc(reflect.VisibleFields(reflect.TypeFor[facts]()), func(f reflect.StructField) bool {
		return f.Anonymous
	})
}

func TestEveryFactIsChangedByARelease(t *testing.T) {
	for _, field := range factFields() {
		first, changed := reflect.ValueOf(factsOf(era4)).FieldByIndex(field.Index), false
		for e := era5; e <= era23; e++ {
			changed = changed || !first.Equal(reflect.ValueOf(factsOf(e)).FieldByIndex(field.Index))
		}
		assert.True(t, changed, "%s is the same in all releases", field.Name)
	}
}

func TestEveryFactIsAskedFor(t *testing.T) {
	asked := make(map[string]bool)
	for name, file := range sourcesOf(t) {
		if name == factsFile {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				asked[s.Sel.Name] = true
			}
			return true
		})
	}
	for _, field := range factFields() {
		assert.True(t, asked[field.Name], "nothing depends on %s", field.Name)
	}
}
