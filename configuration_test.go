package eventstore

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// configuredIn are the packages that users configure, by their directories.
var configuredIn = []string{".", "esclient", "discovery", "essql", "esprom", "esotel"}

// configurationPage is docs/configuration.md: the rows of its tables by heading.
type configurationPage map[string][]pageRow

type pageRow struct{ cells []string }

var pageSpan = regexp.MustCompile("`([^`]*)`")

// spans returns the code in a cell.
func (r pageRow) spans(cell int) (code []string) {
	for _, m := range pageSpan.FindAllStringSubmatch(r.cells[cell], -1) {
		code = append(code, strings.ReplaceAll(m[1], `\|`, "|"))
	}
	return code
}

func readConfigurationPage(t *testing.T) configurationPage {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("docs", "configuration.md"))
	require.NoError(t, err)
	page, section := make(configurationPage), ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section = strings.Trim(title, "`")
		}
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := regexp.MustCompile(`(?:[^|\\]|\\.)+`).FindAllString(strings.Trim(line, "|"), -1)
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		page[section] = append(page[section], pageRow{cells})
	}
	return page
}

// configFiles parses the files of a directory without tests.
func configFiles(t *testing.T, dir string) (files []*ast.File) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		files = append(files, f)
	}
	return files
}

func exprText(e ast.Expr) string {
	var b strings.Builder
	_ = printer.Fprint(&b, token.NewFileSet(), e)
	return strings.Join(strings.Fields(b.String()), " ")
}

type configField struct{ name, typ string }

// isConfig matches types that are set once. ReadOptions and the like are arguments of a call.
var isConfig = regexp.MustCompile(
	`^([A-Z]\w*)?Config$|^(AppendFrom|CatchUp|Persistent|Volatile)Options$|^PersistentSettings$`)

// configStructs returns the exported configurations of all packages, by package and type.
func configStructs(t *testing.T) map[string][]configField {
	t.Helper()
	structs := make(map[string][]configField)
	for _, dir := range configuredIn {
		for _, f := range configFiles(t, dir) {
			for _, decl := range f.Decls {
				gen, ok := decl.(*ast.GenDecl)
				if !ok || gen.Tok != token.TYPE {
					continue
				}
				for _, spec := range gen.Specs {
					spec := spec.(*ast.TypeSpec)
					st, ok := spec.Type.(*ast.StructType)
					if !ok || !isConfig.MatchString(spec.Name.Name) {
						continue
					}
					name := f.Name.Name + "." + spec.Name.Name
					for _, field := range st.Fields.List {
						for _, id := range field.Names {
							if id.IsExported() {
								structs[name] = append(structs[name], configField{id.Name, exprText(field.Type)})
							}
						}
					}
				}
			}
		}
	}
	return structs
}

// defaultsInCode returns, for the configurations of the root and of esclient, their values after the code has set the
// defaults. There are several where the defaults depend on other settings.
func defaultsInCode(t *testing.T) map[string][]any {
	t.Helper()
	pub := PublisherConfig{}
	pub.setDefaults()
	fanOut, group := SubscriberConfig{}, SubscriberConfig{ConsumerGroup: "g"}
	parallel := SubscriberConfig{Concurrency: 2}
	for _, c := range []*SubscriberConfig{&fanOut, &group, &parallel} {
		c.setDefaults()
	}
	parallel.Concurrency, group.ConsumerGroup = fanOut.Concurrency, ""
	client, err := esclient.Open("tcp://127.0.0.1:1")
	require.NoError(t, err)
	require.NoError(t, client.Close())
	cfg := client.Config()
	cfg.Address, cfg.Logger = "", nil
	for _, c := range []*SubscriberConfig{&fanOut, &group, &parallel} { // 0 stands for these
		c.AckDelay, c.PageSize = esclient.DefaultAckDelay, cfg.CatchUpPageSize
		c.BufferSize, c.BufferBytes = cfg.SubscriptionBufferSize, cfg.SubscriptionBufferBytes
	}
	return map[string][]any{
		"eventstore.PublisherConfig":  {pub},
		"eventstore.SubscriberConfig": {fanOut, group, parallel},
		"esclient.Config":             {cfg},
		"esclient.PersistentSettings": {esclient.DefaultPersistentSettings(), DefaultGroupSettings()},
		"esclient.PersistentOptions": {esclient.PersistentOptions{
			InFlight: cfg.PersistentInFlight, AckDelay: esclient.DefaultAckDelay,
			RememberAcked: esclient.DefaultRememberAcked,
		}},
		"esclient.CatchUpOptions": {esclient.CatchUpOptions{
			PageSize: cfg.CatchUpPageSize, BufferSize: cfg.SubscriptionBufferSize,
			BufferBytes: cfg.SubscriptionBufferBytes,
		}},
		"esclient.VolatileOptions": {esclient.VolatileOptions{
			BufferSize: cfg.SubscriptionBufferSize, BufferBytes: cfg.SubscriptionBufferBytes,
		}},
	}
}

// defaultText returns how the page writes a value; "" for one that has no text.
func defaultText(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Interface, reflect.Map, reflect.Func:
		if v.IsNil() {
			return "none"
		}
		if v.Kind() == reflect.Interface {
			return v.Elem().Type().Name()
		}
		return ""
	case reflect.String:
		if v.Len() == 0 {
			return "none"
		}
	}
	switch x := v.Interface().(type) {
	case time.Duration:
		s := x.String()
		if strings.HasSuffix(s, "m0s") {
			s = strings.TrimSuffix(s, "0s")
		}
		if strings.HasSuffix(s, "h0m") {
			s = strings.TrimSuffix(s, "0m")
		}
		return s
	case esclient.Start:
		return ""
	case esclient.KnownEvent:
		if x.IsZero() {
			return "none"
		}
		return ""
	case fmt.Stringer:
		return x.String()
	default:
		return fmt.Sprint(x)
	}
}

// TestEverySettingIsOnThePage compares the tables with the code, both ways.
func TestEverySettingIsOnThePage(t *testing.T) {
	page, structs, defaults := readConfigurationPage(t), configStructs(t), defaultsInCode(t)
	require.Greater(t, len(structs), 10)
	for name, fields := range structs {
		rows := page[name]
		if !assert.NotEmpty(t, rows, "docs/configuration.md needs a section %s", name) {
			continue
		}
		onPage := make(map[string]pageRow)
		for _, row := range rows {
			require.Len(t, row.cells, 5, "%s: %v", name, row.cells)
			onPage[row.spans(0)[0]] = row
		}
		for _, f := range fields {
			row, ok := onPage[f.name]
			if !assert.True(t, ok, "%s.%s, of type %s, is missing", name, f.name, f.typ) {
				continue
			}
			delete(onPage, f.name)
			assert.Equal(t, []string{f.typ}, row.spans(1), "the type of %s.%s", name, f.name)
			assert.NotEmpty(t, row.cells[3], "%s.%s has no meaning", name, f.name)
			assert.NotEmpty(t, row.cells[4], "%s.%s: when does one change it?", name, f.name)
			for _, v := range defaults[name] {
				checkDefault(t, name+"."+f.name, row, defaultText(reflect.ValueOf(v).FieldByName(f.name)))
			}
		}
		assert.Empty(t, slices.Collect(maps.Keys(onPage)), "%s has no such fields", name)
	}
	for section, rows := range page {
		if isConfig.MatchString(section[strings.LastIndex(section, ".")+1:]) {
			assert.NotEmpty(t, structs[section], "no such configuration: %s, %v", section, rows)
		}
	}
}

func checkDefault(t *testing.T, field string, row pageRow, want string) {
	t.Helper()
	cell := row.cells[2]
	switch want {
	case "":
		assert.NotEqual(t, "none", cell, "%s has a default", field)
	case "none":
		assert.True(t, strings.HasPrefix(cell, "none") || strings.HasPrefix(cell, "needed"),
			"%s has no default, but %s", field, cell)
	default:
		assert.Contains(t, row.spans(2), want, "the default of %s", field)
	}
}

// constants returns the values of the constants of a package, as the page writes them.
func constants(t *testing.T, dir string) map[string]string {
	t.Helper()
	values := make(map[string]string)
	for _, f := range configFiles(t, dir) {
		for _, decl := range f.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.CONST {
				continue
			}
			for _, spec := range gen.Specs {
				spec := spec.(*ast.ValueSpec)
				for i, id := range spec.Names {
					if i < len(spec.Values) {
						values[id.Name] = constantText(spec.Values[i])
					}
				}
			}
		}
	}
	return values
}

var timeUnits = map[string]time.Duration{
	"time.Millisecond": time.Millisecond, "time.Second": time.Second,
	"time.Minute": time.Minute, "time.Hour": time.Hour,
}

// constantText returns the text of a constant expression: a literal, a shift, a unit of time, or a number of them.
func constantText(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil {
			return s
		}
		return strings.ReplaceAll(e.Value, "_", "")
	case *ast.BinaryExpr:
		n, err := strconv.Atoi(constantText(e.X))
		if bits, berr := strconv.Atoi(constantText(e.Y)); e.Op == token.SHL && err == nil && berr == nil {
			return strconv.Itoa(n << bits)
		}
		if unit, ok := timeUnits[exprText(e.Y)]; ok && err == nil {
			return defaultText(reflect.ValueOf(time.Duration(n) * unit))
		}
	case *ast.SelectorExpr:
		if unit, ok := timeUnits[exprText(e)]; ok {
			return defaultText(reflect.ValueOf(unit))
		}
	}
	return exprText(e)
}

var constantName = regexp.MustCompile(`^Default[A-Z]\w*$`)

// These packages are not imported here. Their defaults are constants, which the page names with their values.
func TestDefaultsOfOtherPackagesAreConstants(t *testing.T) {
	page := readConfigurationPage(t)
	for _, dir := range []string{"discovery", "esprom", "esotel", "essql"} {
		values := constants(t, dir)
		named := make(map[string]bool)
		for section, rows := range page {
			if !strings.HasPrefix(section, dir+".") {
				continue
			}
			for _, row := range rows {
				spans := row.spans(2)
				for _, span := range spans {
					if constantName.MatchString(span) {
						named[span] = true
						assert.Contains(t, spans, values[span], "%s of %s", span, section)
					}
				}
			}
		}
		for name := range values {
			assert.True(t, !constantName.MatchString(name) || named[name], "the page does not name %s.%s", dir, name)
		}
	}
}

// TestEveryOptionOfAConnectionStringIsOnThePage takes the names from the parser.
func TestEveryOptionOfAConnectionStringIsOnThePage(t *testing.T) {
	inCode := make(map[string]bool)
	for _, f := range configFiles(t, "esclient") {
		ast.Inspect(f, func(n ast.Node) bool {
			sw, ok := n.(*ast.SwitchStmt)
			if !ok || sw.Tag == nil || exprText(sw.Tag) != "settingKey(name)" {
				return true
			}
			for _, clause := range sw.Body.List {
				for _, e := range clause.(*ast.CaseClause).List {
					inCode[constantText(e)] = true
				}
			}
			return true
		})
	}
	require.Greater(t, len(inCode), 30)
	onPage := make(map[string]bool)
	for _, row := range readConfigurationPage(t)["Connection strings"] {
		require.Len(t, row.cells, 4)
		for _, name := range row.spans(0) {
			onPage[strings.ToLower(name)] = true
		}
		for _, field := range row.spans(2) {
			if field, ok := strings.CutPrefix(field, "Config."); ok {
				_, ok := reflect.TypeFor[esclient.Config]().FieldByName(field)
				assert.True(t, ok, "esclient.Config has no field %s", field)
			}
		}
	}
	assert.Equal(t, slices.Sorted(maps.Keys(inCode)), slices.Sorted(maps.Keys(onPage)))
}

// TestEveryFlagIsOnThePage takes the flags of cmd/estest from its code.
func TestEveryFlagIsOnThePage(t *testing.T) {
	personas := constants(t, "estest")
	inCode := make(map[string]string)
	for _, f := range configFiles(t, filepath.Join("cmd", "estest")) {
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !strings.HasPrefix(exprText(call.Fun), "flags.") {
				return true
			}
			switch method := strings.TrimPrefix(exprText(call.Fun), "flags."); {
			case method == "Func":
				inCode["-"+constantText(call.Args[0])] = "none"
			case strings.HasSuffix(method, "Var"):
				def := constantText(call.Args[2])
				if conv, ok := call.Args[2].(*ast.CallExpr); ok { // string(estest.Persona5011)
					def = personas[conv.Args[0].(*ast.SelectorExpr).Sel.Name]
				}
				if def == "" {
					def = "none"
				}
				inCode["-"+constantText(call.Args[1])] = def
			}
			return true
		})
	}
	require.Greater(t, len(inCode), 8)
	for _, row := range readConfigurationPage(t)["The command estest"] {
		name := row.spans(0)[0]
		want, ok := inCode[name]
		if assert.True(t, ok, "there is no flag %s", name) {
			checkDefault(t, name, row, want)
		}
		delete(inCode, name)
	}
	assert.Empty(t, inCode, "the page lacks flags")
}

var variableName = regexp.MustCompile(`\b(?:EVENTSTORE_URL|WATERMILL_TEST_[A-Z_]+|ESTEST_[A-Z_]+)\b`)

func TestEveryEnvironmentVariableIsOnThePage(t *testing.T) {
	inCode := make(map[string]bool)
	require.NoError(t, filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && strings.HasPrefix(entry.Name(), ".git"), entry.Name() == "configuration_test.go":
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case filepath.Ext(name) != ".go" && entry.Name() != "Makefile" && filepath.Dir(name) != ".ci" || entry.IsDir():
			return nil
		}
		text, err := os.ReadFile(name)
		for _, v := range variableName.FindAllString(string(text), -1) {
			inCode[v] = true
		}
		return err
	}))
	onPage := make(map[string]bool)
	for _, row := range readConfigurationPage(t)["Environment variables"] {
		onPage[row.spans(0)[0]] = true
	}
	assert.Equal(t, slices.Sorted(maps.Keys(inCode)), slices.Sorted(maps.Keys(onPage)))
}
