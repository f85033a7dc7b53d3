package archtest

import (
	"cmp"
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// guides are the documents about the code. The names of code in them must exist.
var guides = []string{
	"DESIGN.md", "CONTRIBUTING.md", "docs/recipes.md",
	"docs/design/connections.md", "docs/design/estest.md", "docs/design/subscriptions.md", "docs/design/writes.md",
}

const designMap = "DESIGN.md"

// mapEntry is a file, or a glob of files, in the tables of the section Files.
type mapEntry struct{ dir, pattern string }

var (
	codeSpan = regexp.MustCompile("`([^`]+)`")
	goFile   = regexp.MustCompile(`[\w*][\w*./-]*\.go\b`)
)

// mapEntries reads the section Files of a design document. A heading or the first column names the package.
func mapEntries(text string) (entries []mapEntry) {
	_, text, _ = strings.Cut(text, "\n## Files\n")
	text, _, _ = strings.Cut(text, "\n## ")
	dir := ""
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "### ") {
			dir = ""
			if span := codeSpan.FindStringSubmatch(line); span != nil {
				dir = span[1]
			}
		}
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		in, names := dir, cells[1]
		if span := codeSpan.FindStringSubmatch(cells[1]); span != nil && !strings.HasSuffix(span[1], ".go") {
			in, names = span[1], cells[2]
		}
		for _, span := range codeSpan.FindAllStringSubmatch(names, -1) {
			if strings.HasSuffix(span[1], ".go") {
				entries = append(entries, mapEntry{in, span[1]})
			}
		}
	}
	return entries
}

// mapFaults compares the entries with the files that the map must have.
func mapFaults(entries []mapEntry, files []string) (faults []string) {
	used := make([]bool, len(entries))
	for _, file := range files {
		n := 0
		for i, e := range entries {
			if ok, err := path.Match(e.pattern, path.Base(file)); err == nil && ok && e.dir == path.Dir(file) {
				used[i] = true
				n++
			}
		}
		if n == 0 {
			faults = append(faults, file+" is in no table")
		}
		if n > 1 {
			faults = append(faults, file+" is in the tables more than once")
		}
	}
	for i, e := range entries {
		if !used[i] {
			faults = append(faults, path.Join(e.dir, e.pattern)+" does not exist")
		}
	}
	return faults
}

// TestTheMapHasEveryFile checks the tables of DESIGN.md.
func TestTheMapHasEveryFile(t *testing.T) {
	t.Parallel()
	var want []string
	for _, file := range sources(t) {
		from, _ := layerOf(file.dir())
		if !file.isTest() && path.Base(file.name) != "doc.go" && !slices.Contains(programs, from.dir) {
			want = append(want, file.name)
		}
	}
	assert.Empty(t, mapFaults(mapEntries(read(t, designMap)), want), "the section Files of %s", designMap)
}

func TestFaultsOfTheMapAreFound(t *testing.T) {
	t.Parallel()
	entries := mapEntries("# D\n| `no.go` | x |\n## Files\n### `.`, the root\n| `a.go`, `b_*.go` | uses `c.go` |\n" +
		"### `sub`\n\n|Files|C|\n|---|---|\n| `a.go` | a |\n### Others\n| `sub/x` | `y.go`: y |\n" +
		"## More\n| `z.go` | z |\n")
	assert.Equal(t, []mapEntry{{".", "a.go"}, {".", "b_*.go"}, {"sub", "a.go"}, {"sub/x", "y.go"}}, entries)
	assert.Empty(t, mapFaults(entries, []string{"a.go", "b_1.go", "b_2.go", "sub/a.go", "sub/x/y.go"}))
	assert.Equal(t, []string{
		"c.go is in no table", "sub/b_1.go is in no table", "b_*.go does not exist", "sub/x/y.go does not exist",
	}, mapFaults(entries, []string{"a.go", "c.go", "sub/a.go", "sub/b_1.go"}))
	assert.Equal(t, []string{"b_1.go is in the tables more than once"},
		mapFaults([]mapEntry{{".", "b_*.go"}, {".", "b_1.go"}}, []string{"b_1.go"}))
}

// TestGuidesNameFilesThatExist takes a name without a directory for a file of any package.
func TestGuidesNameFilesThatExist(t *testing.T) {
	t.Parallel()
	var all []string
	for _, file := range sources(t) {
		all = append(all, file.name, path.Base(file.name))
	}
	for _, guide := range guides {
		for _, name := range goFile.FindAllString(read(t, guide), -1) {
			assert.True(t, slices.ContainsFunc(all, func(file string) bool {
				ok, err := path.Match(name, file)
				return err == nil && ok
			}), "%s names %s, which does not exist", guide, name)
		}
	}
}

// declared collects the names that files declare: functions, types, variables and constants, alone and as package.Name,
// and methods and fields, alone and as Type.Name.
func declared(files []source) map[string]bool {
	names := make(map[string]bool)
	add := func(of string, ids ...*ast.Ident) {
		for _, id := range ids {
			names[id.Name], names[of+"."+id.Name] = true, true
		}
	}
	for _, file := range files {
		pkg := strings.TrimSuffix(file.ast.Name.Name, "_test")
		for _, decl := range file.ast.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				add(cmp.Or(receiver(d), pkg), d.Name)
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch s := spec.(type) {
					case *ast.ValueSpec:
						add(pkg, s.Names...)
					case *ast.TypeSpec:
						add(pkg, s.Name)
						for _, field := range members(s.Type) {
							add(s.Name.Name, field.Names...)
						}
					}
				}
			}
		}
	}
	return names
}

// members returns the fields of a struct, or the methods of an interface.
func members(typ ast.Expr) []*ast.Field {
	switch typ := typ.(type) {
	case *ast.StructType:
		return typ.Fields.List
	case *ast.InterfaceType:
		return typ.Methods.List
	}
	return nil
}

// receiver returns the name of the type that a method is of; "" for a function.
func receiver(fun *ast.FuncDecl) string {
	if fun.Recv == nil || len(fun.Recv.List) == 0 {
		return ""
	}
	of := fun.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	if generic, ok := of.(*ast.IndexExpr); ok {
		of = generic.X
	}
	if id, ok := of.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}

// codeName is a Go name in a document, alone or as Type.Member or package.Name.
var codeName = regexp.MustCompile(`^[A-Za-z]\w*(\.[A-Za-z]\w*)?$`)

// looksDeclared distinguishes names of Go in code spans from other words, such as commands and words of the protocol:
// they have a dot, or letters of both cases.
func looksDeclared(span string) bool {
	mixed := span != strings.ToLower(span) && span != strings.ToUpper(span)
	return codeName.MatchString(span) && (mixed || strings.Contains(span, ".")) &&
		!slices.Contains([]string{".go", ".md", ".mod", ".yml"}, path.Ext(span))
}

func TestGuidesNameCodeThatExists(t *testing.T) {
	t.Parallel()
	names, looked := declared(sources(t)), 0
	for _, guide := range guides {
		for _, span := range codeSpan.FindAllStringSubmatch(read(t, guide), -1) {
			if !looksDeclared(span[1]) {
				continue
			}
			looked++
			assert.True(t, names[span[1]], "%s names %s, which does not exist", guide, span[1])
		}
	}
	require.Greater(t, looked, 50)
}
