package cluster_test

// beChild is the main function of a child.
func beChild(string) int { return 1 }
