"""Labels as annotation tools write them, drawn as masks: LabelMe, COCO and YOLO; others are named."""
