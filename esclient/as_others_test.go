package esclient_test

import (
	"testing"

	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// TestAsOtherUsers runs tests again as users who are no administrators. For one of them the server looks up rights
// beside other requests. So it shows which calls work for administrators only.
func TestAsOtherUsers(t *testing.T) {
	t.Parallel()
	undertest.AgainAsOthers(t, []string{"connect", "connectWith", "connectTwice", "embedded"},
		"Retries|ASilentServer|SlowLink|TimeOut|InPart|Shrink|IsCutAtEachStep", 80)
}
