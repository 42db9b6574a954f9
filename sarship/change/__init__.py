"""What only the change study needs: series of Sentinel-1 images, predicted images, difference images, pairs."""
