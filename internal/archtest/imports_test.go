package archtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// layer is a part of the repository: the directory and all below it, except that "." is the root package alone.
type layer struct {
	dir       string
	uses      []string // layers that its code may import, besides itself
	testsUse  []string // layers that its tests may import on top of these
	watermill bool     // may import Watermill

	testsWatermill bool // only its tests may
}

// layers lists every part of the repository: a package in none of them fails the test, so that a new one is placed here
// deliberately. The arrows point down: no package imports one above it.
var layers = []layer{
	{
		dir:       "_examples",
		uses:      []string{".", "essql", "esclient", "esclient/esadmin", "esotel", "esprom", "estest"},
		watermill: true,
	},
	{dir: "essql", uses: []string{".", "esclient"}, testsUse: []string{"estest"}, watermill: true},
	{
		dir: "esprom", uses: []string{"esclient", "esclient/esadmin"}, testsUse: []string{".", "estest"},
		testsWatermill: true,
	},
	{
		dir: "esotel", uses: []string{".", "esclient"}, testsUse: []string{"esprom", "esproto", "estest"},
		watermill: true,
	},
	{dir: "dashboards"},
	{
		dir: "docs/service", uses: []string{".", "esclient", "esclient/esadmin", "esotel", "esprom", "essql"},
		testsUse: []string{"estest"}, watermill: true,
	},
	{
		dir: "docs", testsUse: []string{
			".", "discovery", "esclient", "esclient/esadmin", "esotel", "esprom", "esproto", "essql",
			"estest",
		},
		testsWatermill: true,
	},
	{dir: "benchmarks", uses: []string{".", "esclient", "esproto", "estest"}, watermill: true},
	{dir: ".", uses: []string{"esclient"}, testsUse: []string{"estest", "internal/undertest"}, watermill: true},
	{
		dir: "esclient/esadmin", uses: []string{"esclient", "internal/httpapi", "internal", "discovery"},
		testsUse: []string{"estest", "internal/undertest"},
	},
	{
		dir: "esclient", uses: []string{"internal/httpapi", "internal", "discovery", "esproto"},
		testsUse: []string{"esclient/esadmin", "estest", "internal/undertest", "internal/wiretest"},
	},
	{
		dir: "internal/chaos", testsUse: []string{".", "esclient", "esclient/esadmin", "esproto", "estest"},
		watermill: true,
	},
	{dir: "internal/undertest", uses: []string{"esclient", "estest"}},
	{dir: "internal/wiretest", uses: []string{"esproto"}},
	{dir: "internal/httpapi", uses: []string{"internal", "discovery"}},
	{dir: "internal", uses: []string{"esproto"}, testsUse: []string{"internal/wiretest"}},
	{dir: "discovery"},
	{
		dir: "cmd/esctl", uses: []string{"esclient", "esclient/esadmin", "discovery"},
		testsUse: []string{"esproto", "estest"},
	},
	{dir: "cmd", uses: []string{"estest"}},
	{dir: "estest/browsertest", testsUse: []string{"esclient", "estest"}},
	{dir: "estest/internal/fifo"},
	{dir: "estest/internal/eventlog", uses: []string{"estest/internal/fifo", "esproto"}},
	{
		dir:  "estest/internal/groups",
		uses: []string{"estest/internal/eventlog", "estest/internal/fifo", "esproto"},
	},
	{dir: "estest", uses: []string{"estest/internal/eventlog", "estest/internal/groups", "esproto"}},
	{dir: "esproto"},
}

// testOnly are libraries that only test files may import: users of our packages must not have to load them.
var testOnly = []string{"github.com/stretchr/testify", "go.uber.org/goleak", "golang.org/x/net"}

// drivers are the drivers in the tests of essql. Its code works with any driver.
var drivers = []string{"github.com/go-sql-driver/mysql", "github.com/jackc/pgx", "modernc.org/sqlite"}

func isDriver(importPath string) bool {
	return slices.ContainsFunc(drivers, func(driver string) bool { return within(importPath, driver) })
}

const watermill = "github.com/ThreeDotsLabs/watermill"

func within(importPath, prefix string) bool {
	return importPath == prefix || strings.HasPrefix(importPath, prefix+"/")
}

func layerOf(dir string) (layer, bool) {
	for _, l := range layers {
		if dir == l.dir || l.dir != "." && strings.HasPrefix(dir, l.dir+"/") {
			return l, true
		}
	}
	return layer{}, false
}

// checkImport returns the fault of an import in a file of dir, or "".
func checkImport(dir string, test bool, importPath string) string {
	from, ok := layerOf(dir)
	if !ok {
		return dir + " belongs to no layer: add it to layers"
	}
	switch {
	case within(importPath, watermill) && !from.watermill && !(test && from.testsWatermill):
		return from.dir + " must not know Watermill"
	case !test && slices.ContainsFunc(testOnly, func(lib string) bool { return within(importPath, lib) }):
		return importPath + " is for _test.go files"
	case !test && from.dir == "essql" && isDriver(importPath):
		return importPath + " is a driver, which users choose"
	case !within(importPath, module):
		return ""
	}

	target := strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
	if target == "" {
		target = "."
	}
	to, ok := layerOf(target)
	if !ok {
		return importPath + " belongs to no layer: add it to layers"
	}
	allowed := append([]string{from.dir}, from.uses...)
	if test {
		allowed = append(allowed, from.testsUse...)
	}
	if slices.Contains(allowed, to.dir) {
		return ""
	}
	return fmt.Sprintf("%s must not import %s (allowed: %s)", from.dir, to.dir, strings.Join(allowed, ", "))
}

func TestImportsFollowTheLayers(t *testing.T) {
	t.Parallel()
	for _, file := range sources(t) {
		_, known := layerOf(file.dir())
		assert.True(t, known, "%s: %s belongs to no layer: add it to layers", file.name, file.dir())
		for _, importPath := range file.imports(t) {
			if wrong := checkImport(file.dir(), file.isTest(), importPath); wrong != "" {
				t.Errorf("%s imports %s: %s", file.name, importPath, wrong)
			}
		}
	}
}

func TestCheckImport(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		dir        string
		test       bool
		importPath string
		ok         bool
	}{
		{name: "the root uses the client", dir: ".", importPath: module + "/esclient", ok: true},
		{name: "the root skips no layer", dir: ".", importPath: module + "/esproto"},
		{name: "the root's code has no test server", dir: ".", importPath: module + "/estest"},
		{name: "the root's tests have it", dir: ".", test: true, importPath: module + "/estest", ok: true},
		{name: "an external test imports its package", dir: ".", test: true, importPath: module, ok: true},
		{name: "the client does not know the root", dir: "esclient", test: true, importPath: module},
		{name: "the client uses discovery", dir: "esclient", importPath: module + "/discovery", ok: true},
		{name: "the client uses the engine", dir: "esclient", importPath: module + "/internal/engine", ok: true},
		{name: "administration uses the client", dir: "esclient/esadmin", importPath: module + "/esclient", ok: true},
		{name: "and HTTP", dir: "esclient/esadmin", importPath: module + "/internal/httpapi", ok: true},
		{name: "but no frames", dir: "esclient/esadmin", importPath: module + "/esproto"},
		{name: "the client does not know it", dir: "esclient", importPath: module + "/esclient/esadmin"},
		{name: "though its tests do", dir: "esclient", test: true,
			importPath: module + "/esclient/esadmin", ok: true},
		{name: "nor does HTTP know the client", dir: "internal/httpapi", importPath: module + "/esclient"},
		{name: "the root does not administer", dir: ".", importPath: module + "/esclient/esadmin"},
		{name: "the engine uses the frames", dir: "internal/engine", importPath: module + "/esproto", ok: true},
		{name: "the engine does not know the client", dir: "internal/engine", importPath: module + "/esclient"},
		{name: "its tests play a server", dir: "internal/engine", test: true,
			importPath: module + "/internal/wiretest", ok: true},
		{name: "its code does not", dir: "internal/engine", importPath: module + "/internal/wiretest"},
		{name: "nor does the client's", dir: "esclient", importPath: module + "/internal/wiretest"},
		{name: "the test server is not built on the client", dir: "estest", importPath: module + "/esclient"},
		{name: "nor are its tests", dir: "estest", test: true, importPath: module + "/esclient"},
		{name: "the test server has groups", dir: "estest", importPath: module + "/estest/internal/groups", ok: true},
		{name: "groups have the log", dir: "estest/internal/groups",
			importPath: module + "/estest/internal/eventlog", ok: true},
		{name: "the log knows no groups", dir: "estest/internal/eventlog",
			importPath: module + "/estest/internal/groups"},
		{name: "not even in tests", dir: "estest/internal/eventlog", test: true,
			importPath: module + "/estest/internal/groups"},
		{name: "nor the server", dir: "estest/internal/eventlog", importPath: module + "/estest"},
		{name: "nor do the groups", dir: "estest/internal/groups", test: true, importPath: module + "/estest"},
		{name: "those in a browser write by the client", dir: "estest/browsertest", test: true,
			importPath: module + "/esclient", ok: true},
		{name: "the frames import nothing of ours", dir: "esproto", importPath: module + "/internal/engine"},
		{name: "nor does discovery", dir: "discovery", importPath: module + "/esproto"},
		{name: "the program runs the test server", dir: "cmd/estest", importPath: module + "/estest", ok: true},
		{name: "the command administers", dir: "cmd/esctl", importPath: module + "/esclient/esadmin", ok: true},
		{name: "and does not bring the test server", dir: "cmd/esctl", importPath: module + "/estest"},
		{name: "its tests do", dir: "cmd/esctl", test: true, importPath: module + "/estest", ok: true},
		{name: "the command knows no frames", dir: "cmd/esctl", importPath: module + "/esproto"},
		{name: "SQL checkpoints are for the root's subscriber", dir: "essql", importPath: module, ok: true},
		{name: "which does not know them", dir: ".", test: true, importPath: module + "/essql"},
		{name: "their code has no driver", dir: "essql", importPath: drivers[1] + "/v5/stdlib"},
		{name: "their tests have", dir: "essql", test: true, importPath: drivers[1] + "/v5/stdlib", ok: true},
		{name: "metrics are of a client", dir: "esprom", importPath: module + "/esclient", ok: true},
		{name: "and of its server's groups", dir: "esprom", importPath: module + "/esclient/esadmin", ok: true},
		{name: "which does not know them", dir: "esclient", test: true, importPath: module + "/esprom"},
		{name: "they need no Watermill", dir: "esprom", importPath: watermill},
		{name: "though their tests do", dir: "esprom", test: true, importPath: watermill, ok: true},
		{name: "traces are of the root's publisher", dir: "esotel", importPath: module, ok: true},
		{name: "which does not know them", dir: ".", test: true, importPath: module + "/esotel"},
		{name: "they need no Prometheus", dir: "esotel", importPath: module + "/esprom"},
		{name: "examples use what users can", dir: "_examples/quickstart", importPath: module, ok: true},
		{name: "examples see nothing internal", dir: "_examples/quickstart", importPath: module + "/internal/engine"},
		{name: "a similar name is another layer", dir: "esclient", importPath: module + "/esprotox"},
		{name: "unknown packages are refused", dir: "extras", importPath: "fmt"},
		{name: "the root uses Watermill", dir: ".", importPath: watermill + "/message", ok: true},
		{name: "examples do", dir: "_examples/router", importPath: watermill, ok: true},
		{name: "the client does not", dir: "esclient", importPath: watermill + "/message"},
		{name: "not even in tests", dir: "esclient", test: true, importPath: watermill},
		{name: "tests use testify", dir: "esproto", test: true, importPath: testOnly[0] + "/require", ok: true},
		{name: "code does not", dir: "estest", importPath: testOnly[0] + "/require"},
		{name: "other libraries are free", dir: "esproto", importPath: "github.com/google/uuid", ok: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wrong := checkImport(tt.dir, tt.test, tt.importPath)
			assert.Equal(t, tt.ok, wrong == "", wrong)
		})
	}
}
