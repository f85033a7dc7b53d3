//go:build chaos

package chaos

import (
	"flag"
	"testing"
)

var (
	chaosRounds = flag.Int("chaos.rounds", 40, "how many rounds TestChaos has")
	chaosFaults = flag.Int("chaos.faults", 250, "how many faults a round has")
)

// TestChaos is the long run: 10 000 faults by default, in rounds on single servers and clusters of all versions.
func TestChaos(t *testing.T) { chaos(t, *chaosRounds, *chaosFaults) }
