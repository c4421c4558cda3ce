"""Run folders -> the layout in which the reference was published."""

from supcrd.export.layout import Exported, export_layout
from supcrd.export.names import Name, published_name

__all__ = ["Exported", "Name", "export_layout", "published_name"]
