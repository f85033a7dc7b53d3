package esadmin_test

import (
	"testing"

	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// TestAsOtherUsers runs the tests again as users who are not administrators. An administrator does the rest.
func TestAsOtherUsers(t *testing.T) {
	t.Parallel()
	undertest.AgainAsOthers(t, []string{"manage"}, "$^", 9)
}
