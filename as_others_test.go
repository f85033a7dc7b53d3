package eventstore_test

import (
	"testing"

	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// TestAsOtherUsers runs tests again as users who are not administrators. For one of them the server looks up rights in
// parallel with other requests.
func TestAsOtherUsers(t *testing.T) {
	t.Parallel()
	undertest.AgainAsOthers(t, []string{"connectionString", "embeddedForAll"},
		"ByAHandler|UnderLoad|BackOff", 40)
}
