package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// guides name code that is not exported: a test of internal/archtest looks that up. The changelog names code of older
// versions, too.
var guides = []string{
	"CHANGELOG.md", "CONTRIBUTING.md", "DESIGN.md", "docs/recipes.md",
	"docs/design/connections.md", "docs/design/estest.md", "docs/design/subscriptions.md", "docs/design/writes.md",
}

// foreign has the words of a page that look like names of Go, and are neither that nor settings.
var foreign = map[string][]string{
	"docs/group-handlers.md": {"terminationGracePeriodSeconds"},
	"docs/kafka.md":          {"auto.offset.reset", "retention.bytes", "retention.ms"},
	"docs/photon-pump.md":    {"event.json", "subscription.ack"},
	"docs/tracing.md":        {"error.type", "messaging.system"},
}

var (
	span     = regexp.MustCompile("`([^`\n]+)`")
	codeName = regexp.MustCompile(`^([A-Za-z]\w*(?:\.[A-Za-z]\w*){0,2})(?:\((?:|\w+|…)\))?$`)
	aTest    = regexp.MustCompile(`^(Test|Fuzz|Benchmark)[A-Z]`) // a test of internal/archtest looks these up
	fileName = regexp.MustCompile(`\.(go|md|mod|yml|json|sh)$`)
)

// vocabulary has the names that pages may use.
type vocabulary struct {
	lib   library
	alone map[string]bool         // of this project and Watermill, with fields and methods
	typed map[string][]types.Type // of types, fields and variables
}

// newVocabulary also loads the imports of the pages.
func newVocabulary(t *testing.T) *vocabulary {
	t.Helper()
	_, all := pages(t)
	v := &vocabulary{newLibrary(t, importsOf(all)...), make(map[string]bool), make(map[string][]types.Type)}
	for path, p := range v.lib.byPath {
		if !strings.HasPrefix(path, module) && !strings.HasPrefix(path, "github.com/ThreeDotsLabs/") {
			continue
		}
		for _, name := range p.Scope().Names() {
			if o := p.Scope().Lookup(name); o.Exported() {
				v.alone[name] = true
				v.addMembers(o)
			}
		}
	}
	v.addVariables(t)
	return v
}

// addMembers adds the methods and the fields of a type.
func (v *vocabulary) addMembers(o types.Object) {
	name, ok := o.(*types.TypeName)
	if !ok {
		return
	}
	v.typed[name.Name()] = append(v.typed[name.Name()], name.Type())
	methods := types.NewMethodSet(types.NewPointer(name.Type()))
	if types.IsInterface(name.Type()) {
		methods = types.NewMethodSet(name.Type())
	}
	for m := range methods.Methods() {
		v.alone[m.Obj().Name()] = true
	}
	if s, ok := name.Type().Underlying().(*types.Struct); ok {
		for f := range s.Fields() {
			v.alone[f.Name()] = true
			v.typed[f.Name()] = append(v.typed[f.Name()], f.Type())
		}
	}
}

// addVariables adds those that Go in documents may use.
func (v *vocabulary) addVariables(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile("testdata/preamble.go")
	require.NoError(t, err)
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "preamble.go", text, 0)
	require.NoError(t, err)
	preamble, err := (&types.Config{Importer: v.lib}).Check("page", set, []*ast.File{file}, nil)
	require.NoError(t, err)
	for _, name := range preamble.Scope().Names() {
		v.typed[name] = append(v.typed[name], preamble.Scope().Lookup(name).Type())
	}
}

// has says whether there is a name: alone, or with a package, type, field or variable before it, such as Config.TLS.
func (v *vocabulary) has(name string) bool {
	parts := strings.Split(name, ".")
	if len(parts) == 1 {
		return v.alone[name] || isSetting(name)
	}
	if path := v.lib.byName[parts[0]]; path != "" {
		o := v.lib.byPath[path].Scope().Lookup(parts[1])
		return o != nil && o.Exported() && member(o.Type(), parts[2:])
	}
	return slices.ContainsFunc(v.typed[parts[0]], func(of types.Type) bool { return member(of, parts[1:]) })
}

// member says whether a type has a field or method, which has another one, and so on.
func member(of types.Type, path []string) bool {
	for _, name := range path {
		o, _, _ := types.LookupFieldOrMethod(of, true, nil, name)
		if o == nil || !o.Exported() {
			return false
		}
		of = o.Type()
	}
	return true
}

// isSetting says whether connection strings have a setting, in one of their two forms.
func isSetting(name string) bool {
	for _, form := range []string{"ConnectTo=tcp://host:1113;%s=", "tcp://host:1113?%s="} {
		_, err := esclient.ParseConnectionString(fmt.Sprintf(form, name))
		if err == nil || !strings.Contains(err.Error(), "unknown setting") {
			return true
		}
	}
	return false
}

// named returns the names of Go in the code spans of a page: they have a dot, or letters of both cases.
func named(text string) (all []string) {
	for _, m := range span.FindAllStringSubmatch(outsideBlocks(text), -1) {
		name := codeName.FindStringSubmatch(m[1])
		if name == nil || aTest.MatchString(m[1]) || token.IsKeyword(name[1]) || fileName.MatchString(m[1]) {
			continue
		}
		mixed := m[1] != strings.ToLower(m[1]) && m[1] != strings.ToUpper(m[1])
		if mixed || strings.Contains(m[1], ".") {
			all = append(all, name[1])
		}
	}
	return all
}

func TestPagesNameCodeThatExists(t *testing.T) {
	t.Parallel()
	v, looked := newVocabulary(t), 0
	for page, text := range markdown(t) {
		if slices.Contains(guides, page) {
			continue
		}
		used := make(map[string]bool)
		for _, name := range named(text) {
			looked++
			if used[name] = true; v.has(name) {
				assert.NotContains(t, foreign[page], name, "%s: it is a name of Go", page)
				continue
			}
			assert.Contains(t, foreign[page], name, "%s names %s, which does not exist", page, name)
		}
		for _, name := range foreign[page] {
			assert.True(t, used[name], "%s does not name %s", page, name)
		}
	}
	assert.Greater(t, looked, 500)
}

var metric = regexp.MustCompile(`\beventstore_(client|subscription|group|groups)_\w+`)

// A test of esprom compares its documentation with its metrics.
func TestPagesNameMetricsThatExist(t *testing.T) {
	t.Parallel()
	listed, err := os.ReadFile(filepath.Join(top, "esprom", "doc.go"))
	require.NoError(t, err)
	exist, looked := metric.FindAllString(string(listed), -1), 0
	for page, text := range markdown(t) {
		for _, name := range metric.FindAllString(text, -1) {
			looked++
			assert.Contains(t, exist, name, page)
		}
	}
	assert.Greater(t, looked, 10)
}

func TestNamesThatDoNotExistAreFound(t *testing.T) {
	t.Parallel()
	v := newVocabulary(t)
	for name, want := range map[string]bool{
		"NewSubscriber": true, "SubscriberConfig.Key": true, "eventstore.SubscriberConfig.Key": true,
		"esclient.New": true, "client.ReadParked": true, "srv.Restart": true, "MaxNacks": true, "errors.Is": true,
		"http.ErrServerClosed": true, "Client.ReplayParked": true, "requestreply.ReplyTimeoutError": true,
		"GroupSettings.StartFrom": true, "Config.TLS.RootCAs": true, "tlsServerName": true, "UseSslConnection": true,
		"NewSubscribers": false, "SubscriberConfig.Keys": false, "eventstore.SubscriberConfig.Keys": false,
		"esclient.new": false, "client.Parked": false, "nobody.Restart": false, "ErrServerClosed": false,
		"errors.is": false, "GroupSettings.StartsFrom": false, "tlsServer": false, "UseSSLConnections": false,
	} {
		assert.Equal(t, want, v.has(name), name)
	}
	assert.Equal(t, []string{"MaxNacks", "srv.Restart", "http.Error", "estest.WithTLS"}, named(
		"`MaxNacks` `srv.Restart()` `park` `EVENTSTORE_URL` `TestX` `doc.go` `a b`\n```go\n`NoName`\n```\n"+
			"`http.Error` `estest.WithTLS(n)`"))
}
