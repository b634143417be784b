"""Body models: from rotations of joints and shape values to vertices and keypoints."""
