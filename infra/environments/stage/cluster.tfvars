only_own_images = true
