package undertest

import (
	"reflect"
	"strings"
	"testing"
)

// PublicError fails a test if an error, or one that it wraps, has a type that users cannot name: a type of a package
// under internal, or of the wire format.
func PublicError(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	typ := reflect.TypeOf(err)
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if path := typ.PkgPath(); strings.Contains(path, module+"/internal/") || path == module+"/esproto" {
		t.Errorf("%v is %q: users cannot name that type", typ, err)
	}
	switch e := err.(type) { //nolint:errorlint // checks each error of the chain
	case interface{ Unwrap() error }:
		PublicError(t, e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, cause := range e.Unwrap() {
			PublicError(t, cause)
		}
	}
}

const module = "github.com/watermill-eventstore/watermill-eventstore"
