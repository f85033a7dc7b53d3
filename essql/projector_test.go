package essql_test

const projectorVariable = "ESSQL_TEST_PROJECTOR"

func runProjectorProcess() int { return 0 }
