package esadmin_test

import (
	"testing"

	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// TestAsOtherUsers runs tests again with clients of users who are no administrators, next to whom one administers.
func TestAsOtherUsers(t *testing.T) {
	t.Parallel()
	undertest.AgainAsOthers(t, []string{"manage"}, "$^", 9)
}
